"""Every error that vqa-engine raises on purpose.

    VqaEngineError
    ├── ConfigurationError       an option, a TOML file or an argument is wrong
    ├── OutputError              a file cannot be written
    ├── EngineBusy               another thread is using this engine
    ├── AdapterError             facts: adapter
    │   ├── AdapterNotInstalled  no entry point has this name
    │   ├── AdapterClash         two distributions offer this name
    │   ├── AdapterBroken        it is installed, but its import failed
    │   └── AdapterInvalid       it was imported, but does not fit the contract
    ├── CheckpointError          a model's files cannot be reached or read
    ├── BackendError             a backend call is missing or failed
    ├── BackendGone              no question can be answered until somebody acts
    ├── PlaceLost                a place is gone; its questions go to another
    ├── OutOfMemory              the model ran out of memory, or would
    ├── QuestionSetError         a question file is broken; nothing can run
    ├── ImageError               one question's image cannot be used
    ├── AnswerError              an adapter failed on one question
    │   └── ContextExceeded      it has more tokens than the model reads
    ├── NothingAnswered          the first questions of a run all failed in one way
    ├── TooManyFailures          as many questions failed as the caller allows
    ├── PluginError              another package's code failed, died, or did not answer
    ├── WorkerError              a worker process cannot load, or keeps dying
    │   └── InterpreterError     its Python cannot run this vqa-engine
    ├── RequestError             a client's request cannot be answered
    ├── ScoringError             answers and ground truths do not fit together
    │   └── NotComparable        two runs did not ask the same
    └── RunError                 a run directory cannot be used
        ├── RunLocked            another process is writing it
        ├── RunMismatch          it was started with other settings
        └── JournalError         its journal cannot be read or written

An error carries its facts as attributes; its text ends with what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class VqaEngineError(Exception):
    """Root of the tree. Catch this to catch everything raised on purpose.

    An error can be sent to another process, with its text and its facts: one that cannot be
    rebuilt there breaks a pool of processes, and every call that waits in it.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[VqaEngineError], args: tuple[object, ...]) -> VqaEngineError:
    """An error with this text, whatever its class takes to word one."""
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigurationError(VqaEngineError):
    """An option, a TOML file or an argument is wrong; the text says which."""


class OutputError(VqaEngineError):
    """A file cannot be written. `path` is what it is called."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(message)
        self.path = path


class EngineBusy(VqaEngineError):
    """Another thread is using this engine. `thread` is the name of that one."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        super().__init__(
            f"This engine is in use in the thread {thread!r}. Wait for it, or give each thread "
            "an engine of its own; only cancel() may be called from any thread."
        )


class AdapterError(VqaEngineError):
    """A plugin cannot be used. `adapter` is the entry-point name that was asked for."""

    def __init__(self, adapter: str, message: str) -> None:
        super().__init__(message)
        self.adapter = adapter


_GENERAL = ("mlx_vlm", "transformers")
"""Adapters that load checkpoints of many families, for advice."""


class AdapterNotInstalled(AdapterError):
    """No entry point has this name.

    `known` are the names that are installed, `meant` the one among them that is close to it.
    No package is named after it: whoever mistypes would install what a stranger put there.
    """

    def __init__(self, adapter: str, known: Sequence[str], meant: str | None = None) -> None:
        self.known, self.meant = tuple(known), meant
        names = ", ".join(known) or "none"
        general = next((one for one in _GENERAL if one in known), "ADAPTER")
        advice = f"Did you mean {meant!r}?"
        if meant is None:
            advice = (
                "Install the package that its author names, or run a model that needs no adapter "
                f"of its own with {general}@OWNER/NAME."
            )
        if "/" in adapter:
            advice = f"A checkpoint needs an adapter in front of it: {general}@{adapter}"
        super().__init__(
            adapter, f"No adapter named {adapter!r} is installed (installed: {names}). {advice}"
        )


class AdapterClash(AdapterError):
    """Two distributions offer one name. `distributions` are both, with versions."""

    def __init__(self, adapter: str, distributions: Sequence[str]) -> None:
        self.distributions = tuple(distributions)
        super().__init__(
            adapter,
            f"The adapter name {adapter!r} is offered by {' and by '.join(distributions)}. "
            "Uninstall one of them.",
        )


class AdapterBroken(AdapterError):
    """The plugin is installed, but importing it failed.

    `distribution` and `version` say where it came from, `reason` is the
    exception's type and text.
    """

    def __init__(
        self, adapter: str, distribution: str, version: str, reason: str, remedy: str
    ) -> None:
        self.distribution, self.version = distribution, version
        self.reason, self.remedy = reason, remedy
        super().__init__(
            adapter,
            f"The adapter {adapter!r} of {distribution} {version} is installed, "
            f"but its import failed: {reason}. {remedy}",
        )


class AdapterInvalid(AdapterError):
    """The plugin's object does not fit `ModelAdapter`. `problems` names each misfit."""

    def __init__(self, adapter: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            adapter,
            f"The adapter {adapter!r} does not fit the ModelAdapter contract: "
            f"{'; '.join(problems)}. Report this to the authors of its package.",
        )


class CheckpointError(VqaEngineError):
    """A model's files cannot be reached or read.

    `model` is what was asked for, `tried` the places that were looked in. One argument alone
    is the whole sentence.
    """

    def __init__(
        self, model: str, tried: Sequence[str] = (), reason: str = "", remedy: str = ""
    ) -> None:
        self.model, self.tried = model, tuple(tried)
        self.reason, self.remedy = reason, remedy
        if not reason:
            super().__init__(model)
            return
        places = f" (tried {', then '.join(tried)})" if tried else ""
        super().__init__(f"The model {model!r} cannot be loaded{places}: {reason}. {remedy}")


class BackendError(VqaEngineError):
    """A backend call is missing or failed. `call` is its name, e.g. `mlx.set_cache_limit`."""

    def __init__(self, call: str, reason: str, remedy: str = "") -> None:
        self.call, self.reason = call, reason
        super().__init__(f"{call}: {reason}.{' ' + remedy if remedy else ''}")


class BackendGone(VqaEngineError):
    """What answers is away for good, and no cheaper plan or fresh process brings it back.

    A run ends here: what is not answered yet stays open, so that the same command goes on
    later. A server that was stopped is the usual case.
    """


class PlaceLost(VqaEngineError):
    """A place is gone: its process, its machine, or the way there.

    Its questions go to other places. A run that has none left ends with this error, and the
    same command continues it. `place` is the place's name.
    """

    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason
        super().__init__(f"The place {place} is lost: {reason.rstrip('.')}.")


class OutOfMemory(VqaEngineError):
    """The model ran out of memory, or a prediction says that it would.

    `needed` and `budget` are bytes, None where nobody knows.
    """

    def __init__(
        self, message: str, *, needed: int | None = None, budget: int | None = None
    ) -> None:
        super().__init__(message)
        self.needed, self.budget = needed, budget


class QuestionSetError(VqaEngineError):
    """A question file is broken, so nothing can run.

    `file`, `line` (from 1) and `question_id` say where, as far as known.
    """

    def __init__(
        self,
        reason: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        question_id: int | str | None = None,
    ) -> None:
        self.reason, self.file, self.line, self.question_id = reason, file, line, question_id
        super().__init__(_located(reason, file, line, question_id))


class ImageError(VqaEngineError):
    """One question's image cannot be used; other questions are not affected.

    `image` is the path or a description, `origin` where the question comes from
    (`file:line`), `question_id` whose image it is, empty where there is only one.
    """

    def __init__(
        self,
        reason: str,
        *,
        image: str,
        origin: str | None = None,
        question_id: int | str | None = None,
    ) -> None:
        self.reason, self.image, self.origin, self.question_id = reason, image, origin, question_id
        whose = "" if question_id in (None, "") else f"question {question_id!r}"
        where = " ".join(part for part in (whose, f"({origin})" if origin else "") if part)
        super().__init__(
            f"{where}: image {image}: {reason}" if where else f"image {image}: {reason}"
        )


class AnswerError(VqaEngineError):
    """An adapter failed on one question. `cause` names the kind of failure."""

    def __init__(self, message: str, *, cause: str = "adapter") -> None:
        super().__init__(message)
        self.cause = cause


class ContextExceeded(AnswerError):
    """A question and its answer need more tokens than the model's context has.

    `needed` and `size` are tokens; `needed` is a lower bound where they were not counted.
    """

    def __init__(self, message: str, *, needed: int, size: int) -> None:
        super().__init__(message, cause="too_long")
        self.needed, self.size = needed, size


class NothingAnswered(VqaEngineError):
    """The first questions of an adapter's run all failed in the same way: the run stops.

    `label` is the adapter's, `count` how many were asked, `cause` one of
    `vqa_engine.results.Cause`. All questions stay open.
    """

    def __init__(self, label: str, count: int, cause: str, message: str) -> None:
        self.label, self.count, self.cause = label, count, cause
        super().__init__(
            f"The first {'question' if count == 1 else f'{count} questions'} to {label!r} "
            f"{'failed' if count == 1 else 'all failed in the same way'}, so the rest "
            f"was not asked. The last failure: {message.rstrip('.')}. Remove the cause and run "
            "the same command; --same-failures 0 asks all questions whatever fails."
        )


class TooManyFailures(VqaEngineError):
    """An adapter's run was ended because so many questions failed as were allowed.

    `label` is the adapter's, `count` how many failed. All that has no answer stays open.
    """

    def __init__(self, label: str, count: int, message: str) -> None:
        self.label, self.count = label, count
        super().__init__(
            f"{count} question{'' if count == 1 else 's'} to {label!r} failed, which is as many "
            f"as --max-failures allows, so the rest was not asked. The last failure: "
            f"{message.rstrip('.')}. The same command continues the run."
        )


class WorkerError(VqaEngineError):
    """A worker process cannot load its model, or keeps dying: the run stops.

    `label` is the adapter's, `cause` one of `vqa_engine.results.Cause`, `detail` a
    traceback or the end of what the worker printed.
    """

    def __init__(self, message: str, *, label: str, cause: str, detail: str = "") -> None:
        super().__init__(message)
        self.label, self.cause, self.detail = label, cause, detail


class InterpreterError(WorkerError):
    """The worker's Python cannot run this vqa-engine. `python` is its path."""

    def __init__(self, message: str, *, label: str, python: str, detail: str = "") -> None:
        super().__init__(message, label=label, cause="adapter", detail=detail)
        self.python = python


class PluginError(VqaEngineError):
    """A plugin that is no adapter raised something, or its process died or did not answer.

    The text is only the reason.
    """


class RequestError(VqaEngineError):
    """A client's request cannot be answered by the server.

    `status` is the HTTP status, `param` the field at fault and `code` a word for programs, as
    in OpenAI's error object. `retry_after` is when to try again, in seconds; None means that
    trying again is no use.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.retry_after = retry_after


class ScoringError(VqaEngineError):
    """Answers and ground truths do not fit together; the text says which ids."""


class NotComparable(ScoringError):
    """Two runs differ in their questions, prompts or task cards; the text says in which."""


class RunError(VqaEngineError):
    """A run directory cannot be used. `directory` is its path."""

    def __init__(self, directory: Path, message: str) -> None:
        super().__init__(message)
        self.directory = directory


class RunLocked(RunError):
    """Another process is writing this run. `owner` is its process id, if known."""

    def __init__(self, directory: Path, owner: int | None) -> None:
        self.owner = owner
        who = f"process {owner}" if owner else "another process"
        super().__init__(
            directory,
            f"The run {directory} is being written by {who}. "
            "Wait for it to end, or give another --output.",
        )


class RunMismatch(RunError):
    """The run was started with other settings.

    `differences` maps a setting's name to (what the run has, what was asked for), `acceptable`
    says whether all of them are versions of code.
    """

    def __init__(
        self,
        directory: Path,
        differences: Mapping[str, tuple[object, object]],
        *,
        acceptable: bool = False,
    ) -> None:
        self.differences, self.acceptable = dict(differences), acceptable
        how = "--accept-changes to record the new versions and go on" if acceptable else ""
        shown = "; ".join(_difference(name, values) for name, values in differences.items())
        super().__init__(
            directory,
            f"The run {directory} was started with other settings ({shown}). "
            f"Use {how or 'the same settings to continue it'}, --fresh to start a new run "
            "beside it, or another --output.",
        )


class JournalError(RunError):
    """The journal cannot be read or written; rows committed before are safe."""


def _difference(name: str, values: tuple[object, object]) -> str:
    old, new = values
    if name == "question_digest":  # a hash says nothing to a person
        return "the questions differ"
    return f"{name}: {old!r} there, {new!r} now"


def _located(
    reason: str, file: Path | None, line: int | None, question_id: int | str | None
) -> str:
    place = f"{file}:{line}" if file and line else str(file or "")
    who = f"question {question_id!r}" if question_id is not None else ""
    where = ", ".join(part for part in (place, who) if part)
    return f"{where}: {reason}" if where else reason
