"""One worker process, seen from the host: started, spoken to, ended, and seen to be gone."""

from __future__ import annotations

import logging
import signal
import subprocess
import weakref
from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import TypeVar

from vqa_engine.errors import InterpreterError
from vqa_engine.interpreter import Interpreter
from vqa_engine.session.protocol import OnTransfer
from vqa_engine.strays import end_marked
from vqa_engine.worker import replies
from vqa_engine.worker.ahead import taken
from vqa_engine.worker.evidence import oom_kills
from vqa_engine.worker.exit import Ending, Verdict, classify
from vqa_engine.worker.group import discard, is_empty, signal_group, spawn
from vqa_engine.worker.last_words import understood
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.messages import (
    PROTOCOL,
    Ask,
    Begun,
    Fetching,
    Hello,
    Load,
    Look,
    Ready,
    Said,
    ToChild,
    ToHost,
    Vitals,
    encode_to_child,
)
from vqa_engine.worker.replies import Nonsense
from vqa_engine.worker.timeouts import Timeouts
from vqa_engine.worker.wire import FrameError, WireClosed, close

_GREETING = 60.0
"""Seconds until a started program must have greeted. It has only to import vqa-engine, and
one that never will (`--python /usr/bin/yes`) should not be waited for as long as a model."""

TICK = 0.25
"""Seconds between two looks at whether a silent worker is still there. Its end is seen at
once through the wire, unless a process that it forked holds the wire open."""

_WRITTEN = 0.25
"""Seconds that a hung worker gets to write its stacks. SIGTERM at once may reach its main thread
first, and then they show how it ends."""

_REAPED = 10.0
"""Seconds that the system gets to end a process after SIGKILL."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class WorkerDied(Exception):
    """The worker is gone. `verdict` says why, `said` is the end of what it printed."""

    def __init__(self, verdict: Verdict, said: str) -> None:
        super().__init__(verdict.message)
        self.verdict, self.said = verdict, said


class Cancelled(Exception):
    """Another thread asked that nothing be waited for any longer."""


class Worker:
    """A worker process.

    It is a session and a process group of its own: Ctrl-C in the terminal does not
    reach it, and what its adapter starts ends with it. It ends at the latest when this
    object goes, or the host does.

    Once `cancelled` is set, whoever waits for a reply gets `Cancelled`.

    Raises:
        InterpreterError: the interpreter cannot be started.
    """

    def __init__(
        self, interpreter: Interpreter, output: WorkerLog, timeouts: Timeouts, cancelled: Event
    ) -> None:
        self._interpreter, self._log, self._timeouts = interpreter, output, timeouts
        self._cancelled = cancelled
        self._kills = oom_kills()
        self._vitals = Vitals()
        try:
            self._ends = taken(interpreter, output) or spawn(interpreter, output)
        except OSError as error:
            raise interpreter.cannot_start(error) from error
        self._mark = output.mark()
        self._finalizer = weakref.finalize(self, discard, self._ends)

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group and session as well."""
        return self._ends.process.pid

    def greet(self) -> None:
        """Wait for its first words, and compare versions.

        Raises:
            InterpreterError: it is no worker, or one of another version.
            WorkerDied: it was killed before it could greet.
        """
        seconds = min(_GREETING, self._timeouts.load)
        try:
            hello = self._received(monotonic() + seconds)
        except (FrameError, Nonsense) as error:
            raise self._no_worker(f"it wrote something else: {error}") from error
        except TimeoutError as error:
            raise self._no_worker(f"no greeting within {seconds:g} s") from error
        except WireClosed as error:
            raise self._ended_early() from error
        if not isinstance(hello, Hello):
            raise self._no_worker(f"it began with a {type(hello).__name__} message")
        self._interpreter.compare(hello.version, hello.python, same=hello.protocol == PROTOCOL)

    def exchange(
        self,
        message: ToChild,
        seconds: float,
        read: Callable[[ToHost], T],
        on_begun: Callable[[int], None] = lambda _count: None,
        on_transfer: OnTransfer = lambda _transfer: None,
    ) -> T:
        """Say something, and wait for the reply, as `read` makes it out.

        `seconds` is for one question: once the child says that it has begun several, it has
        as many times that. `on_begun` is called with their number. The time that a download
        takes does not count, as long as it goes on; `on_transfer` hears how far it is.

        Raises:
            WorkerDied: it ended, or was ended because no reply came in time, or none that
                can be read (`read` raises `Nonsense`).
            NotImplementedError, TypeError, ValueError, OverflowError: the message is
                not plain data; nothing was sent.
        """
        data = encode_to_child(message)
        self._mark = self._log.mark()
        self._waiting = seconds
        try:
            self._ends.wire.send(data, seconds)
            reply = self._reply(message, seconds, on_begun, on_transfer)
            made = read(reply)
        except TimeoutError as error:
            raise self._died(waited=self._waiting) from error
        except WireClosed as error:
            raise self._died() from error
        except FrameError as error:
            raise self._died(lost="wrote to file descriptors") from error
        except Nonsense as error:
            raise self._died(nonsense=str(error)) from error
        if isinstance(reply, Ready | Said):
            self._vitals = reply.vitals
        return made

    def _reply(
        self,
        message: ToChild,
        seconds: float,
        on_begun: Callable[[int], None],
        on_transfer: OnTransfer,
    ) -> ToHost:
        """The reply, after whatever is said on the way to it."""
        most = message.limit if isinstance(message, Ask) else 0
        until, done = monotonic() + seconds, -1
        while True:
            match reply := self._received(until):
                case Begun(count=count) if 1 <= count <= most:
                    most = count - 1  # a batch that does not fit is begun again, and smaller
                    self._waiting = seconds * count
                    until = monotonic() + self._waiting
                    on_begun(count)
                case Fetching(transfer=transfer) if isinstance(message, Load | Look):
                    if transfer.done > done:
                        until, done = monotonic() + seconds, transfer.done
                    on_transfer(transfer)
                case Begun() | Fetching():
                    raise Nonsense(f"a {type(reply).__name__} message at the wrong time")
                case _:
                    return reply

    def end(self, patience: float = 0.0) -> bool:
        """End the process and its group: politely first, SIGKILL last. Idempotent.

        The wire is closed, and `patience` seconds given to end by itself; then comes
        SIGTERM with `timeouts.stop` seconds; then SIGKILL for what is left. Killing a
        process that wired GPU memory may leak it until the next start of the machine
        (docs/facts/memory.md, "Wiring").

        Returns:
            Whether the process and all its group are known to be gone.
        """
        self._ends.wire.close()
        if not self._gone_within(patience):
            signal_group(self.pid, signal.SIGTERM)
            self._gone_within(self._timeouts.stop)
        signal_group(self.pid, signal.SIGKILL)
        gone = self._gone_within(_REAPED) and is_empty(self.pid)
        gone = end_marked(self._ends.mark) and gone
        if self._finalizer.detach() is not None:
            close(self._ends.lifeline)
        if not gone:
            log.error("the worker %d, or something that it started, does not end", self.pid)
        return gone

    def _received(self, until: float) -> ToHost:
        wire = self._ends.wire
        while (data := wire.receive(min(TICK, max(0.0, until - monotonic())))) is None:
            if self._ends.process.poll() is not None:
                data = wire.receive(0)  # its last words may have come since
                if data is None:
                    raise WireClosed("the worker ended, and something that it forked goes on")
                break
            if monotonic() >= until:
                raise TimeoutError
            if self._cancelled.is_set():
                raise Cancelled
        return replies.message(data)

    def _died(
        self, *, waited: float | None = None, lost: str = "", nonsense: str = ""
    ) -> WorkerDied:
        """Bury it, and find out why it died."""
        if waited is not None:
            # Its handler writes the stack of each Python thread into the log.
            self._ends.process.send_signal(signal.SIGUSR1)  # nothing once it was reaped
            self._gone_within(_WRITTEN)
        elif not lost and not nonsense and not self._gone_within(self._timeouts.stop):
            lost = "closed file descriptors"
        self.end()
        printed = self._log.tail(self._mark)
        ours = waited is not None or bool(lost or nonsense)
        ending = Ending(
            code=self._code(),
            said=printed,
            named=None if ours else understood(self._interpreter, printed),
            waited=waited,
            lost=lost,
            nonsense=nonsense,
            kills=oom_kills().since(self._kills),
            vitals=self._vitals,
        )
        return WorkerDied(classify(ending), printed)

    def _ended_early(self) -> Exception:
        death = self._died()
        if death.verdict.cause in ("exited", "python", "adapter"):
            return self._interpreter.did_not_greet(f"exit code {self._code()}", death.said)
        return death

    def _no_worker(self, how: str) -> InterpreterError:
        self.end()
        return self._interpreter.did_not_greet(how, self._log.tail(self._mark))

    def _code(self) -> int:
        code = self._ends.process.returncode
        return -signal.SIGKILL if code is None else code

    def _gone_within(self, seconds: float) -> bool:
        try:
            self._ends.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
