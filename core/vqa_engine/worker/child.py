"""The child's side: `python -m vqa_engine.worker.child READER WRITER LIFELINE ARENA`.

It greets, then does what it is told, one message at a time, on its main thread. The
four arguments are inherited descriptors.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import platform
import signal
import sys
import traceback
from collections import deque
from types import FrameType
from typing import NoReturn

from attrs import evolve

from vqa_engine.adapter import Question, portable
from vqa_engine.errors import VqaEngineError
from vqa_engine.failures import describe
from vqa_engine.interpreter import version
from vqa_engine.plugins import registry
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Failure, Note, Released, Reply
from vqa_engine.session.local import LocalSession
from vqa_engine.worker.arena import Inbox
from vqa_engine.worker.evidence import vitals
from vqa_engine.worker.exit import WIRE_LOST
from vqa_engine.worker.guard import follow, out_of_reach
from vqa_engine.worker.messages import (
    PROTOCOL,
    Ask,
    Asked,
    Hello,
    Leave,
    Left,
    Load,
    Ready,
    Refused,
    Said,
    ToChild,
    decode_in_child,
    encode_to_host,
)
from vqa_engine.worker.remote import refined
from vqa_engine.worker.wire import Wire, WireClosed, WireLost, close

log = logging.getLogger(__name__)

MOST_NOTES = 100
"""Log records that one reply brings along, the latest; an adapter may log without end."""


class Child:
    """A session behind a wire."""

    def __init__(self, wire: Wire, inbox: Inbox) -> None:
        self._wire, self._inbox = wire, inbox
        self._session: LocalSession | None = None
        self._heard: deque[Note] = deque(maxlen=MOST_NOTES)
        self._owner = os.getpid()

    def serve(self) -> None:
        """Do what the host says until it says `Leave`, or is gone."""
        try:
            while self._step():
                pass
        except WireLost:
            os._exit(WIRE_LOST)
        except WireClosed:
            self._release()

    def _step(self) -> bool:
        data = self._wire.receive()
        assert data is not None  # without a timeout there always is one
        message = decode_in_child(data)
        answer = self._do(message)
        if os.getpid() != self._owner:
            os._exit(0)  # the adapter forked, and its child came back here
        self._wire.send(answer)
        return not isinstance(message, Leave)

    def _do(self, message: ToChild) -> bytes:
        match message:
            case Load():
                return encode_to_host(self._load(message))
            case Ask():
                return self._answer(message)
            case Leave():
                return encode_to_host(self._release())

    def _load(self, load: Load) -> Ready | Refused:
        if load.path is not None:
            sys.path[:] = load.path
        spec = AdapterSpec(name=load.name, model=load.model, label=load.label, target=load.target)
        try:
            adapter = registry.make(spec)
            session = LocalSession(
                adapter,
                spec.model,
                load.policy,
                in_place=False,
                library=load.library,
                on_note=self._heard.append,
            )
            loaded = session.load()
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; the host tells
            return _refused(error, self._notes())
        self._session = session
        ready = evolve(loaded, profile=portable(loaded.profile))
        return Ready(ready, vitals(), self._notes())

    def _answer(self, ask: Ask) -> bytes:
        replies = self._replies(ask)
        try:
            return encode_to_host(Said(replies, vitals(), self._notes()))
        except (TypeError, ValueError, OverflowError) as error:
            failed = _failed(f"The answer cannot cross to the engine: {error}")
            return encode_to_host(Said((failed,) * len(replies), vitals()))

    def _replies(self, ask: Ask) -> tuple[Reply, ...]:
        if self._session is None:
            return (_failed("The model is not loaded: call load first."),)
        return self._session.answers([self._question(one) for one in ask.upcoming], ask.plan)

    def _question(self, asked: Asked) -> Question:
        facts = {name: getattr(asked, name) for name in asked.__struct_fields__}
        return Question(**facts | {"image": self._inbox.take(asked.image)})

    def _release(self) -> Left:
        session, self._session = self._session, None
        if session is None:
            return Left(Released(residue=0, seconds=0.0))
        return Left(session.release(), self._notes())

    def _notes(self) -> tuple[Note, ...]:
        """What was logged since they were last taken."""
        return tuple(self._heard.popleft() for _ in range(len(self._heard)))


def main() -> None:
    """Set the scene before the adapter can touch anything, then serve."""
    reader, writer, lifeline, arena = (out_of_reach(int(one)) for one in sys.argv[1:5])
    # Its own descriptor, so that a native crash, or the host's SIGUSR1 to a hung worker,
    # leaves the Python stack in the log even if the adapter turned the standard streams.
    stderr = out_of_reach(os.dup(2))
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGUSR1, stderr)
    signal.signal(signal.SIGTERM, _leave)
    follow(lifeline)
    wire = Wire(reader, writer)
    os.register_at_fork(after_in_child=lambda: _let_go(wire, lifeline, arena))
    sys.argv = ["vqa-engine-worker"]
    wire.send(encode_to_host(_hello()))
    Child(wire, Inbox(arena)).serve()
    _finish()


def _finish() -> NoReturn:
    """End without taking the interpreter apart.

    With mlx_vlm imported that takes 27 times as long (9.5 s against 0.35 s on a busy
    machine), and a thread that the adapter forgot could hold it up for ever. What is
    registered with atexit still runs.
    """
    try:
        atexit._run_exitfuncs()
    finally:
        os._exit(0)


def _hello() -> Hello:
    return Hello(PROTOCOL, version(), platform.python_version(), os.getpid())


def _let_go(wire: Wire, *others: int) -> None:
    """A forked child must not hold the wire: the host would never see it end."""
    wire.close()
    for descriptor in others:
        close(descriptor)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _refused(error: Exception, notes: tuple[Note, ...]) -> Refused:
    """Loading raised; the facts of an error of ours go along, so that it can be rebuilt."""
    failure, ours = describe(error), isinstance(error, VqaEngineError)
    return Refused(
        kind=type(error).__name__ if ours else "",
        message=failure.message,
        cause=refined(failure.cause, failure.message),
        facts=vars(error) if ours else {},
        detail="".join(traceback.format_exception(error)),
        notes=notes,
    )


def _failed(message: str) -> Reply:
    return Reply(failure=Failure(cause="adapter", message=message))


if __name__ == "__main__":
    main()
