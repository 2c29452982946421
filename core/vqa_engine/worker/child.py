"""The child's side: `python -m vqa_engine.worker.child READER WRITER LIFELINE`.

It greets, then obeys one message at a time, on its main thread. The
three arguments are inherited descriptors.
"""

from __future__ import annotations

import atexit
import faulthandler
import locale
import logging
import os
import platform
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from attrs import evolve
from msgspec import DecodeError, Raw

from vqa_engine.adapter import Question, Transfer, portable
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import AdapterInvalid
from vqa_engine.interpreter import version
from vqa_engine.plugins import registry
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Failure, Note, Released, Reply
from vqa_engine.session.notes import Notes
from vqa_engine.session.resident import Resident
from vqa_engine.worker import servant
from vqa_engine.worker.evidence import vitals
from vqa_engine.worker.exit import WIRE_LOST
from vqa_engine.worker.guard import follow, out_of_reach
from vqa_engine.worker.looking import VALUES, Topic, found
from vqa_engine.worker.messages import (
    PROTOCOL,
    Ask,
    Begun,
    Call,
    Fetching,
    Found,
    Hello,
    Leave,
    Left,
    Load,
    Look,
    Make,
    Ready,
    Refused,
    Said,
    ToChild,
    ToHost,
    decode_found,
    decode_in_child,
    encode_to_host,
)
from vqa_engine.worker.outbox import Inbox
from vqa_engine.worker.reraise import refusal
from vqa_engine.worker.wire import Wire, WireClosed, WireLost, close

log = logging.getLogger(__name__)

MOST_NOTES = 100
"""Log records that one reply brings along, the latest; an adapter may log without end."""


class Child:
    """A loaded model, or another plugin's servant, behind a wire.

    `printed` are the descriptors of what it prints.
    """

    def __init__(self, wire: Wire, printed: Sequence[int]) -> None:
        self._wire, self._inbox = wire, Inbox()
        self._printed = printed
        self._resident: Resident | None = None
        self._servant: object = None
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
        self._wire.send(encode_to_host(answer))
        return not isinstance(message, Leave)

    def _do(self, message: ToChild) -> ToHost:
        match message:
            case Load():
                return self._load(message)
            case Look():
                return self._look(message)
            case Ask():
                return self._ask(message)
            case Leave():
                return self._release()
            case Make():
                return self._served(partial(self._make, message))
            case Call():
                return self._served(partial(servant.answer, self._servant, message))

    def _load(self, load: Load) -> Ready | Refused:
        spec = _prepared(load)
        try:
            if load.log is not None:
                _turn(self._printed, load.log)
            resident = Resident(
                called(registry.make, spec),
                spec.model,
                load.policy,
                on_note=self._heard.append,
                on_transfer=self._fetching,
            )
            loaded = resident.load()
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; the host reports it
            return refusal(error, self._notes())
        self._resident = resident
        ready = evolve(loaded, profile=portable(loaded.profile))
        return Ready(ready, vitals(), self._notes())

    def _look(self, look: Look) -> Found | Refused:
        spec = _prepared(look.load)
        notes: Notes | None = None
        try:
            adapter = called(registry.make, spec)
            notes = Notes.of(adapter, self._heard.append)
            notes.open()
            value = encode_to_host(found(adapter, spec, look.topic, self._fetching))
            _fits(spec.name, look.topic, value)
        except Exception as error:  # noqa: BLE001  as above
            return refusal(error, self._notes())
        finally:
            if notes is not None:
                notes.close()
        return Found(Raw(value), self._notes())

    def _make(self, make: Make) -> bytes:
        _prepare(make)
        Notes(make.listen, self._heard.append).open()  # as long as the process lives
        self._servant = servant.made(make)
        return servant.written(None)

    def _served(self, call: Callable[[], bytes]) -> Found | Refused:
        try:
            return Found(Raw(called(call)), self._notes())
        except Exception as error:  # noqa: BLE001  as above
            return servant.refusal(error, self._notes())

    def _fetching(self, transfer: Transfer) -> None:
        self._wire.send(encode_to_host(Fetching(transfer)))

    def _ask(self, ask: Ask) -> Said:
        assert self._resident is not None  # the host asks a loaded model only
        upcoming = self._inbox.take(ask)
        exchange = self._resident.ask(
            upcoming, ask.limit, ask.plan, self._begun if ask.limit > 1 else _silent
        )
        return Said(
            begun=exchange.begun,
            vitals=vitals(),
            replies=tuple(_written(reply) for reply in exchange.replies),
            failure=exchange.failure,
            events=exchange.events,
            recycle=exchange.recycle,
            notes=self._notes(),
            turn=ask.turn,
        )

    def _begun(self, questions: Sequence[Question]) -> None:
        self._wire.send(encode_to_host(Begun(len(questions))))

    def _release(self) -> Left:
        resident, self._resident = self._resident, None
        if resident is None:
            return Left(Released(residue=0, seconds=0.0))
        return Left(resident.release(last=True), self._notes())

    def _notes(self) -> tuple[Note, ...]:
        """What was logged since they were last taken."""
        return tuple(self._heard.popleft() for _ in range(len(self._heard)))


def main() -> None:
    """Set the scene before the adapter can touch anything, then serve."""
    reader, writer, lifeline = (out_of_reach(int(one)) for one in sys.argv[1:4])
    # Its own descriptor, so that a native crash, or the host's SIGUSR1 to a hung worker,
    # leaves the Python stack in the log even if the adapter turned the standard streams.
    stderr = out_of_reach(os.dup(2))
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGUSR1, stderr)
    signal.signal(signal.SIGTERM, _leave)
    follow(lifeline)
    _read_utf8()
    wire = Wire(reader, writer)
    os.register_at_fork(after_in_child=lambda: _let_go(wire, lifeline))
    sys.argv = ["vqa-engine-worker"]
    try:
        wire.send(encode_to_host(_hello()))
        Child(wire, (1, 2, stderr)).serve()
    except _Ended:
        _finish(128 + signal.SIGTERM)
    _finish()


def _read_utf8() -> None:
    """Read text as UTF-8, which checkpoints are, though the host's locale has ASCII or Latin-1.

    Runtimes open them without saying so. Python's UTF-8 mode would also change what the names
    of files mean, and those come from the host.
    """
    for name in ("C.UTF-8", "en_US.UTF-8", "UTF-8"):  # Linux has the first, macOS the others
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            return


def _finish(code: int = 0) -> NoReturn:
    """End without taking the interpreter apart.

    With mlx_vlm imported that takes 27 times as long (9.5 s against 0.35 s on a busy
    machine), and a thread that the adapter forgot could hold it up for ever. What is
    registered with atexit still runs.
    """
    try:
        atexit._run_exitfuncs()
    finally:
        os._exit(code)


def _hello() -> Hello:
    return Hello(PROTOCOL, version(), platform.python_version(), os.getpid())


def _let_go(wire: Wire, *others: int) -> None:
    """A forked child must not hold the wire: the host would never see it end."""
    wire.close()
    for descriptor in others:
        close(descriptor)


def _prepared(load: Load) -> AdapterSpec:
    """The spec of an adapter, where it is found as in the host."""
    _prepare(load)
    return AdapterSpec(name=load.name, model=load.model, label=load.label, target=load.target)


def _prepare(message: Load | Make) -> None:
    if message.path is not None:
        sys.path[:] = message.path
    logging.getLogger().setLevel(message.log_level)


def _turn(descriptors: Sequence[int], log: Path) -> None:
    """Have what is written to these go to the end of a file."""
    opened = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in descriptors:
        os.dup2(opened, descriptor, inheritable=os.get_inheritable(descriptor))
    os.close(opened)


def _fits(name: str, topic: Topic, value: bytes) -> None:
    """See that what an adapter says of itself is what was asked, before it goes out.

    Raises:
        AdapterInvalid: it is not.
    """
    try:
        decode_found(VALUES[type(topic)], value)
    except DecodeError as error:
        raise AdapterInvalid(name, [f"what it says of itself does not fit: {error}"]) from error


class _Ended(KeyboardInterrupt):
    """SIGTERM: no adapter's doing, so nothing that guards against adapters may keep it."""


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise _Ended


def _written(reply: Reply) -> Raw:
    """A reply as it crosses; one that cannot is its own question's failure."""
    try:
        return Raw(encode_to_host(reply))
    except (TypeError, ValueError, OverflowError) as error:
        message = f"The answer cannot be sent to the engine: {error}"
        return Raw(encode_to_host(Reply(failure=Failure(cause="adapter", message=message))))


def _silent(_questions: Sequence[Question]) -> None:
    """The host knows when a single question begins: when it asks."""


if __name__ == "__main__":
    main()
