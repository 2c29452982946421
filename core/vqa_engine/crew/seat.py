"""The far end of a place in a Ray cluster: what runs in an actor, beside the GPU it was given.

The actor holds no model. It holds a session whose model lives in a worker process of ours,
so that a native crash ends that worker and not Ray's. All that crosses is msgpack in bytes:
our exceptions would not survive Ray's pickling.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from attrs import frozen

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.crew.place import Presence
from vqa_engine.errors import ImageError
from vqa_engine.images import encoded
from vqa_engine.interpreter import version
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Note
from vqa_engine.runs.manifest import adapter_record
from vqa_engine.session.protocol import Settled
from vqa_engine.worker.messages import Ask, Load, Ready, Vitals, decode_in_child, encode_to_host
from vqa_engine.worker.outbox import Inbox
from vqa_engine.worker.reraise import refusal
from vqa_engine.worker.session import WorkerSession
from vqa_engine.worker.timeouts import Timeouts

T = TypeVar("T")


@frozen(kw_only=True)
class Arrived:
    """The model is loaded, or `refused`; both are messages of `vqa_engine.worker.messages`."""

    version: str
    ready: bytes = b""
    refused: bytes = b""
    presence: Presence | None = None
    notes: tuple[Note, ...] = ()


@frozen(kw_only=True)
class Brought:
    """The replies to the questions at these places of what was asked, each a `Reply`.

    With `refused` the session raised that after it.
    """

    replies: tuple[tuple[int, bytes], ...] = ()
    refused: bytes = b""
    notes: tuple[Note, ...] = ()


class Seat:
    """Loads, asks and releases one adapter, see `vqa_engine.session.protocol.Session`.

    `load` is an encoded `Load`, `python` the interpreter of the worker, empty for this one.
    """

    def __init__(self, load: bytes, python: str, timeouts: tuple[float, float, float]) -> None:
        message = _expected(Load, load)
        self._notes: list[Note] = []
        self._inbox = Inbox()
        self._spec = AdapterSpec(
            name=message.name,
            label=message.label,
            model=message.model,
            target=message.target,
            python=Path(python) if python else None,
        )
        answer_times = Timeouts(load=timeouts[0], answer=timeouts[1], stop=timeouts[2])
        self._session = WorkerSession(
            self._spec,
            policy=message.policy,
            timeouts=answer_times,
            on_note=self._notes.append,
        )

    def here(self) -> bool:
        """Whether the actor runs; it always does when this returns."""
        return True

    def load(self) -> bytes:
        """Load the model; an encoded `Arrived`."""
        try:
            ready = Ready(self._session.load(), Vitals())
        except Exception as error:  # noqa: BLE001  whatever it is, the other end raises it
            arrived = Arrived(
                version=version(), refused=encode_to_host(refusal(error)), notes=self._noted()
            )
        else:
            arrived = Arrived(
                version=version(),
                ready=encode_to_host(ready),
                presence=self._presence(),
                notes=self._noted(),
            )
        return msgspec.msgpack.encode(arrived)

    def sees(self, path: str, digest: str) -> bool:
        """Whether a file here has the bytes that it has at the other end."""
        try:
            content = encoded(Question(question_id="", image=Path(path), text=""))
            return hashlib.sha256(content).hexdigest() == digest
        except ImageError:
            return False

    def ask(self, message: bytes) -> bytes:
        """Have all questions of an encoded `Ask` answered; an encoded `Brought`."""
        ask = _expected(Ask, message)
        questions = self._inbox.take(ask)
        settled: list[Settled] = []
        refused = b""
        try:
            self._ask_all(questions, ask.plan, settled)
        except Exception as error:  # noqa: BLE001  whatever it is, the other end raises it
            refused = encode_to_host(refusal(error))
        places = {id(question): place for place, question in enumerate(questions)}
        replies = tuple((places[id(one)], encode_to_host(reply)) for one, reply in settled)
        brought = Brought(replies=replies, refused=refused, notes=self._noted())
        return msgspec.msgpack.encode(brought)

    def release(self) -> bytes:
        """Release the model; an encoded `Released`."""
        return msgspec.msgpack.encode(self._session.release())

    def _ask_all(
        self, questions: Sequence[Question], plan: GenerationPlan, settled: list[Settled]
    ) -> None:
        """Add the replies as they come, until all are there or the backend is gone."""
        left = list(questions)
        while left:
            through = self._session.ask(left, plan)
            settled += through
            if any(reply.failure and reply.failure.cause == "gone" for _, reply in through):
                return
            done = {id(question) for question, _ in through}
            left = [question for question in left if id(question) not in done]

    def _presence(self) -> Presence:
        host, gpus = socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES", "")
        facts = {"host": host, "python": platform.python_version()}
        return Presence(
            name=f"{host}/gpu{gpus}" if gpus else host,
            facts={**facts, "gpu": gpus} if gpus else facts,
            record=adapter_record(self._spec),
        )

    def _noted(self) -> tuple[Note, ...]:
        notes, self._notes[:] = tuple(self._notes), []
        return notes


def _expected(kind: type[T], data: bytes) -> T:
    message = decode_in_child(data)
    if not isinstance(message, kind):
        raise TypeError(f"a {type(message).__name__} message in place of {kind.__name__}")
    return message


def arrived(data: bytes) -> Arrived:
    """What `Seat.load` returned; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Arrived)


def brought(data: bytes) -> Brought:
    """What `Seat.ask` returned; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=Brought)
