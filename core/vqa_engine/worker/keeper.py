"""Keeps the worker of one adapter: at most one at a time, started and ended as asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import ConfigurationError, ImageError, WorkerError
from vqa_engine.interpreter import Interpreter
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Cause, Failure, Loaded, Note, Released, Reply
from vqa_engine.worker.arena import Outbox
from vqa_engine.worker.limits import Limits, Timeouts
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.messages import (
    Ask,
    Asked,
    Hello,
    ImageRecord,
    Leave,
    Left,
    Load,
    Ready,
    Refused,
    Said,
    ToChild,
    ToHost,
)
from vqa_engine.worker.process import Worker, WorkerDied
from vqa_engine.worker.remote import raised_again, refined

NOT_PLAIN = (NotImplementedError, TypeError, ValueError, OverflowError)
"""What msgspec raises for a message that cannot be written."""

DETAIL = 4000
"""Characters of a dead worker's last words that go into a failure's detail."""

log = logging.getLogger(__name__)


@frozen
class _Tools:
    """What outlives a worker: its successor writes to the same log and reads the same
    arena."""

    log: WorkerLog
    outbox: Outbox

    @classmethod
    def open(cls, log_directory: Path | None, label: str) -> _Tools:
        """Raises OSError when the log cannot be written, or no memory is left to share."""
        log_file = WorkerLog(log_directory, label)
        try:
            return cls(log_file, Outbox())
        except BaseException:
            log_file.close()
            raise

    def close(self) -> None:
        self.outbox.close()
        self.log.close()


class Keeper:
    """Starts the worker of `spec`, asks it, and ends it; `on_note` hears what it logs."""

    def __init__(  # noqa: PLR0913  what a session was given
        self,
        spec: AdapterSpec,
        log_directory: Path | None,
        policy: MemoryPolicy,
        timeouts: Timeouts,
        limits: Limits,
        *,
        library: Path | None,
        on_note: Callable[[Note], None],
    ) -> None:
        self._spec, self._log_directory, self._policy = spec, log_directory, policy
        self._timeouts, self._limits = timeouts, limits
        self._library, self._on_note = library, on_note
        self._interpreter = Interpreter.of(spec.label, spec.python)
        self._tools: _Tools | None = None
        self.worker: Worker | None = None

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
        for left in reversed(range(self._limits.loads)):
            try:
                return self._start_once()
            except WorkerDied as death:
                cause = death.verdict.cause
                if not left or cause == "hung" or not (again or cause == "killed"):
                    raise self._cannot_load(death) from death
                log.warning("%s: loading again: %s", self._spec.label, death)
        raise AssertionError("unreachable: the last failure raises")

    def ask(self, upcoming: Sequence[Question], plan: GenerationPlan) -> tuple[Reply, ...]:
        """One try at the first question, or at as many as are answered together.

        A death is a failure of the first too, and leaves no `worker`.
        """
        assert self.worker is not None
        try:
            said = self._exchange(
                self.worker, self._message(upcoming, plan), self._patience(upcoming)
            )
        except WorkerDied as death:
            self.worker = None
            return (_failed(death.verdict.cause, str(death), death.said[-DETAIL:]),)
        except ImageError as error:
            return (_failed("image", str(error)),)
        except msgspec.ValidationError as error:
            return (_failed("adapter", f"The adapter's answer does not fit its record: {error}"),)
        except NOT_PLAIN as error:
            return (_failed("adapter", f"The question cannot cross to its worker: {error}"),)
        except BaseException:
            self.drop()  # the reply that is under way belongs to no later question
            raise
        assert isinstance(said, Said)
        return tuple(_refined(reply) for reply in said.replies)

    def drop(self) -> None:
        """End the worker at once, whatever it is doing."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.end()

    def retire(self) -> None:
        """End a healthy worker politely; the next one takes its place."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._released(worker)
            worker.end(patience=self._timeouts.stop)

    def farewell(self) -> tuple[Released, bool]:
        """Let the adapter release its model, then end the worker and close all. Idempotent.

        Returns:
            What the child says of its release, and whether its whole group is gone.
        """
        worker, self.worker = self.worker, None
        tools, self._tools = self._tools, None
        try:
            if worker is None:
                return Released(residue=0, seconds=0.0), True
            released = self._released(worker)
            return released, worker.end(patience=self._timeouts.stop)
        finally:
            if tools is not None:
                tools.close()

    def _start_once(self) -> Loaded:
        tools = self._ready_tools()
        worker = Worker(self._interpreter, tools.log, tools.outbox.descriptor, self._timeouts)
        try:
            worker.greet()
            loaded = self._load_in(worker)
        except BaseException:
            worker.end()
            raise
        self.worker = worker
        return loaded

    def _ready_tools(self) -> _Tools:
        label = self._spec.label
        try:
            self._tools = self._tools or _Tools.open(self._log_directory, label)
            self._tools.log.header(f"{label} under {self._interpreter.python}")
        except OSError as error:
            message = f"The worker of {label!r} cannot be prepared: {error}"
            raise WorkerError(message, label=label, cause="backend") from error
        return self._tools

    def _load_in(self, worker: Worker) -> Loaded:
        spec, path = self._spec, self._interpreter.module_path()
        message = Load(
            *(spec.name, spec.label, spec.model, self._policy, spec.target, path, self._library)
        )
        try:
            reply = self._exchange(worker, message, self._timeouts.load)
        except NOT_PLAIN as error:
            raise ConfigurationError(
                f"The options of {spec.label!r} cannot cross to its worker: {error}"
            ) from error
        if isinstance(reply, Refused):
            raise raised_again(reply, spec.label)
        assert isinstance(reply, Ready)
        return reply.loaded

    def _exchange(self, worker: Worker, message: ToChild, seconds: float) -> ToHost:
        """Say something, and wait for the reply; what it brings along is passed on."""
        reply = worker.exchange(message, seconds)
        if not isinstance(reply, Hello):
            for note in reply.notes:
                self._on_note(note)
        return reply

    def _patience(self, upcoming: Sequence[Question]) -> float:
        """Seconds: a batch may take as long as its questions may one by one."""
        return self._timeouts.answer * len(upcoming)

    def _message(self, upcoming: Sequence[Question], plan: GenerationPlan) -> Ask:
        assert self._tools is not None
        images = self._tools.outbox.put(upcoming)
        pairs = zip(upcoming, images, strict=False)  # the arena may hold the first few only
        return Ask(tuple(self._asked(question, image) for question, image in pairs), plan)

    def _asked(self, question: Question, image: ImageRecord) -> Asked:
        assert self._tools is not None
        root = question.image_root
        return Asked(
            question_id=question.question_id,
            image=image,
            text=question.text,
            answers=question.answers,
            image_id=question.image_id,
            question_type=question.question_type,
            answer_type=question.answer_type,
            choices=question.choices,
            origin=question.origin,
            image_root=None if root is None else self._tools.outbox.reachable(root),
        )

    def _released(self, worker: Worker) -> Released:
        try:
            left = self._exchange(worker, Leave(), self._timeouts.stop)
        except (WorkerDied, msgspec.DecodeError) as error:
            # Nothing is lost: the end of the process gives back what a release would.
            log.warning("%s: its worker did not release: %s", self._spec.label, error)
            return Released(residue=None, seconds=0.0)
        assert isinstance(left, Left)
        return left.released

    def _cannot_load(self, death: WorkerDied) -> WorkerError:
        verdict, label = death.verdict, self._spec.label
        message = f"The worker of {label!r} cannot load its model. {verdict.message}"
        return WorkerError(message, label=label, cause=verdict.cause, detail=death.said[-DETAIL:])


def _failed(cause: Cause, message: str, detail: str = "") -> Reply:
    return Reply(failure=Failure(cause=cause, message=message, detail=detail))


def _refined(reply: Reply) -> Reply:
    """An adapter's plain exception may tell more than its type does."""
    failure = reply.failure
    if failure is None:
        return reply
    cause = refined(failure.cause, failure.message)
    return evolve(reply, failure=evolve(failure, cause=cause))
