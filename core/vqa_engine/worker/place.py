"""The place of a model that lives in a worker: one process at a time, started and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

from attrs import define, evolve, field

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import ConfigurationError, ImageError, WorkerError
from vqa_engine.files import unwritable
from vqa_engine.interpreter import Interpreter
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Cause, Failure, Loaded, MemoryEvent, Note, Released, Reply
from vqa_engine.session.notes import wanted
from vqa_engine.session.protocol import Exchange, OnBegun, OnTransfer
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.messages import (
    Leave,
    Left,
    Load,
    Ready,
    Refused,
    Said,
    ToChild,
    ToHost,
)
from vqa_engine.worker.outbox import Outbox
from vqa_engine.worker.process import Worker, WorkerDied
from vqa_engine.worker.replies import exchanged, left, loaded
from vqa_engine.worker.reraise import raised_again
from vqa_engine.worker.timeouts import Timeouts

NOT_PLAIN = (NotImplementedError, TypeError, ValueError, OverflowError)
"""What msgspec raises for a message that cannot be written."""

_DETAIL = 4000
"""Characters of a dead worker's last words that go into a failure's detail."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@define
class _Resident:
    """A worker whose model is loaded, and what has crossed to it."""

    worker: Worker
    outbox: Outbox = field(factory=Outbox)


class WorkerPlace:
    """Starts the worker of `spec`, asks it, and ends it; see `vqa_engine.session.Place`.

    `loads` is how many workers in a row may die while loading. `variables` are set in the
    worker's environment. `on_note` hears what the worker logs, `on_transfer` how far the
    download of its checkpoint is. Once `cancelled` is set, no call waits any longer.
    """

    def __init__(  # noqa: PLR0913  what a session was given
        self,
        spec: AdapterSpec,
        log_directory: Path | None,
        policy: MemoryPolicy,
        timeouts: Timeouts,
        *,
        loads: int,
        variables: Mapping[str, str] | None = None,
        cancelled: Event | None = None,
        on_note: Callable[[Note], None],
        on_transfer: OnTransfer,
    ) -> None:
        self._spec, self._log_directory, self._policy = spec, log_directory, policy
        self._timeouts, self._loads, self._on_note = timeouts, loads, on_note
        self._on_transfer = on_transfer
        self._interpreter = Interpreter.of(spec.label, spec.python, variables)
        self._cancelled = cancelled or Event()
        self._log: WorkerLog | None = None
        self._resident: _Resident | None = None

    @property
    def alive(self) -> bool:
        return self._resident is not None

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._resident.worker.pid if self._resident else None

    def start(self, *, again: bool = False) -> Loaded:
        """Start a worker and load the model; one that is killed meanwhile has successors.

        A first load that dies of itself would die again. With `again` the model was
        loaded before, so what kills its worker now may pass.

        Raises:
            VqaEngineError: what the adapter raised, as from an inline session.
            InterpreterError: the interpreter cannot run a worker of this version.
            WorkerError: the worker died while loading, or its load took too long.
            ConfigurationError: the model's options are not plain data.
        """
        for more in reversed(range(self._loads)):
            try:
                return self._start_once()
            except WorkerDied as death:
                cause = death.verdict.cause
                if not more or cause == "hung" or not (again or cause == "killed"):
                    raise self._cannot_load(death) from death
                log.warning("%s: loading again: %s", self._spec.label, death)
        raise AssertionError("unreachable: the last failure raises")

    def ask(
        self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan, on_begun: OnBegun
    ) -> Exchange:
        """One exchange; a death leaves the place not `alive`, and is the exchange's failure."""
        assert self._resident is not None
        worker, outbox = self._resident.worker, self._resident.outbox
        try:
            message = outbox.compose(upcoming, limit, plan)
        except ImageError as error:
            return _failed("image", str(error), reason=error.reason)
        except NOT_PLAIN as error:
            return _failed("adapter", f"The question cannot be sent to its worker: {error}")
        begun = _Begun(upcoming, on_begun)
        if message.limit == 1:
            begun(1)  # the child need not say so
        try:
            return self._exchange(
                worker, message, self._timeouts.answer, partial(exchanged, message), begun
            )
        except WorkerDied as death:
            self._resident = None
            detail = death.said[-_DETAIL:]
            failure = Failure(cause=death.verdict.cause, message=str(death), detail=detail)
            return Exchange(begun=begun.count, failure=failure)
        except BaseException:
            self.stop(politely=False)  # the reply that is under way belongs to no later question
            raise

    def stop(self, *, politely: bool) -> tuple[MemoryEvent, ...]:
        """End the worker, after a release of its model or at once; the next replaces it."""
        resident, self._resident = self._resident, None
        if resident is None:
            return ()
        if not politely:
            resident.worker.end()
            return ()
        released = self._released(resident.worker)
        resident.worker.end(patience=self._timeouts.stop)
        return released.events

    def close(self) -> Released:
        """Let the adapter release its model, then end the worker and all that it started.

        `residue` is 0 once they are gone: a process takes its memory with it.
        """
        resident, self._resident = self._resident, None
        output, self._log = self._log, None
        try:
            if resident is None:
                return Released(residue=0, seconds=0.0)
            released = self._released(resident.worker)
            gone = resident.worker.end(patience=self._timeouts.stop)
            return evolve(released, residue=0 if gone else None)
        finally:
            if output is not None:
                output.close()

    def _start_once(self) -> Loaded:
        worker = Worker(self._interpreter, self._opened_log(), self._timeouts, self._cancelled)
        try:
            worker.greet()
            ready = self._load_in(worker)
        except BaseException:
            worker.end()
            raise
        self._resident = _Resident(worker)
        return ready

    def _opened_log(self) -> WorkerLog:
        label = self._spec.label
        try:
            self._log = self._log or WorkerLog(self._log_directory, label)
            self._log.header(f"{label} under {self._interpreter.python}")
        except OSError as error:
            message = unwritable(f"The log of {label!r}", error)
            raise WorkerError(message, label=label, cause="backend") from error
        return self._log

    def _load_in(self, worker: Worker) -> Loaded:
        spec, path = self._spec, self._interpreter.module_path()
        log = self._log
        message = Load(
            name=spec.name,
            label=spec.label,
            model=spec.model,
            policy=self._policy,
            target=spec.target,
            path=path,
            log_level=wanted(),
            log=log.unknown if log else None,
        )
        try:
            reply = self._exchange(worker, message, self._timeouts.load, loaded)
            if log is not None:
                log.catch_up()
        except NOT_PLAIN as error:
            raise ConfigurationError(
                f"The options of {spec.label!r} cannot be sent to its worker: {error}"
            ) from error
        if isinstance(reply, Refused):
            raise raised_again(reply, spec.label)
        return reply

    def _exchange(
        self,
        worker: Worker,
        message: ToChild,
        seconds: float,
        read: Callable[[ToHost], T],
        on_begun: Callable[[int], None] = lambda _count: None,
    ) -> T:
        """Say something, and wait for the reply; what it brings along is passed on."""

        def heard(reply: ToHost) -> T:
            made = read(reply)
            if isinstance(reply, Ready | Said | Left | Refused):
                for note in reply.notes:
                    self._on_note(note)
            return made

        return worker.exchange(message, seconds, heard, on_begun, self._on_transfer)

    def _released(self, worker: Worker) -> Released:
        try:
            return self._exchange(worker, Leave(), self._timeouts.stop, left)
        except WorkerDied as error:
            # Nothing is lost: the end of the process gives back what a release would.
            log.warning("%s: its worker did not release: %s", self._spec.label, error)
            return Released(residue=None, seconds=0.0)

    def _cannot_load(self, death: WorkerDied) -> WorkerError:
        verdict, label = death.verdict, self._spec.label
        message = f"The worker of {label!r} cannot load its model. {verdict.message}"
        return WorkerError(message, label=label, cause=verdict.cause, detail=death.said[-_DETAIL:])


@define
class _Begun:
    """Counts the questions that are being answered, and passes them on."""

    upcoming: Sequence[Question]
    on_begun: OnBegun
    count: int = 0

    def __call__(self, count: int) -> None:
        self.count = count
        self.on_begun(self.upcoming[:count])


def _failed(cause: Cause, message: str, reason: str = "") -> Exchange:
    failure = Failure(cause=cause, message=message, reason=reason)
    return Exchange(begun=1, replies=(Reply(failure=failure),))
