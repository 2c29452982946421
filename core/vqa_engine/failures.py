"""How an exception, or what a dead worker printed, becomes a cause and an error of ours."""

from __future__ import annotations

import re
import traceback
from functools import cache
from pathlib import Path
from typing import get_args

from vqa_engine.adapter.crossing import said
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    BackendGone,
    ContextExceeded,
    EngineBusy,
    ImageError,
    NothingAnswered,
    OutOfMemory,
    QuestionSetError,
    RunError,
    TooManyFailures,
    VqaEngineError,
)
from vqa_engine.memory.backend import TextCause
from vqa_engine.memory.backends import failure_texts
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import Cause, Failure

NOT_A_MODELS = (RunError, QuestionSetError, EngineBusy, NothingAnswered, TooManyFailures)
"""Errors that concern a whole run, of which no adapter can know."""

_GENERAL: tuple[tuple[TextCause, str], ...] = (
    ("out_of_memory", r"std::bad_alloc"),  # C++ new
    ("out_of_memory", r"MemoryError\b|Unable to allocate [\d.]+ [KMGT]iB"),  # CPython, NumPy
)
"""Texts of no backend; the backends' own come with them (`Library.failures`)."""

_REMEDIES: dict[TextCause, str] = {
    "handle_limit": "Too many buffers are alive: clear the pool or restart.",
    "watchdog": "The GPU's watchdog stopped a step that ran too long: use a smaller one.",
    "backend": "The device is of no more use to this process: restart.",
}

_LINKS = 20
"""Exceptions behind one that are shown; of a longer chain none is."""

_LONGEST = 100_000
"""Characters of a traceback: the last, for they say what happened."""

_OURS = __name__.partition(".")[0]


def cause_of(text: str) -> TextCause | None:
    """The cause that a message names, None if it names none."""
    return next((cause for cause, pattern in _known() if pattern.search(text)), None)


def named(text: str) -> tuple[TextCause, str] | None:
    """The cause that a text names, and the first line that names it, at most 300 characters."""
    cause = cause_of(text)
    if cause is None:
        return None
    patterns = [pattern for one, pattern in _known() if one == cause]
    lines = (line.strip() for line in text.splitlines())
    line = next((ln[:300] for ln in lines if any(p.search(ln) for p in patterns)), "")
    return cause, line


def classify(error: BaseException, call: str) -> VqaEngineError:
    """The error of ours that says what `error`, raised by a model's library, means.

    `call` names what was being done, e.g. `mlx_vlm.generate_step`. One of our own errors
    comes back as it is. The caller raises the result `from` the original.
    """
    if isinstance(error, VqaEngineError):
        return error
    name, text = type(error).__name__, _first_line(error)
    cause = "out_of_memory" if isinstance(error, MemoryError) else cause_of(reason(error))
    match cause:
        case "too_big":
            return _too_big(error, call)
        case "out_of_memory":
            return OutOfMemory(f"Out of memory in {call}: {text}. A cheaper plan may fit.")
        case None:
            return AnswerError(f"{call} failed with {name}: {said(error)}", cause=name)
        case _:
            return BackendError(call, text, _REMEDIES[cause])


def describe(error: Exception) -> Failure:
    """A failure row for an exception; one that is not ours keeps its traceback."""
    if isinstance(error, VqaEngineError):
        cause = _cause(error)
        return Failure(cause=cause, message=said(error), reason=_reason(error, cause))
    detail = traced(error)
    message, where = reason(error), f"{type(error).__name__}{place(error)}"
    cause = cause_of(message) or "python"
    return Failure(cause=cause, message=message, reason=where, detail=detail)


def traced(error: BaseException) -> str:
    """An exception's traceback, whatever it says of itself, with a few of those behind it.

    A retry that raises each error from the one before makes a chain of thousands, and Python
    takes seconds to print it.
    """
    link: BaseException | None = error
    try:
        for _ in range(_LINKS):
            link = link and (link.__cause__ or link.__context__)
        if link is None:
            return "".join(traceback.format_exception(error))[-_LONGEST:]
        # `format_exception` looks at the whole chain also where it is told to print none of it.
        frames = "".join(traceback.format_tb(error.__traceback__))
        return f"{frames}{reason(error)}\n"[-_LONGEST:]
    except Exception:  # noqa: BLE001  anybody's exception, whose attributes may raise anything
        return reason(error)


def forget(error: BaseException) -> None:
    """Drop the arrays that a failed call's frames hold.

    An exception keeps its frames alive, and they keep the question's arrays; without this
    a failure that somebody stores would hold its memory for as long.
    """
    link: BaseException | None = error
    cleared: set[int] = set()  # a chain may be a ring
    while link is not None and id(link) not in cleared:
        traceback.clear_frames(link.__traceback__)
        cleared.add(id(link))
        link = link.__cause__ or link.__context__


def _known() -> tuple[tuple[TextCause, re.Pattern[str]], ...]:
    """All texts, the most specific cause first; read when something has failed."""
    return _patterns((*failure_texts(), *_GENERAL))


@cache
def _patterns(
    texts: tuple[tuple[TextCause, str], ...],
) -> tuple[tuple[TextCause, re.Pattern[str]], ...]:
    ordered = sorted(texts, key=lambda one: get_args(TextCause).index(one[0]))
    return tuple((cause, re.compile(pattern)) for cause, pattern in ordered)


def _too_big(error: BaseException, call: str) -> OutOfMemory:
    """One buffer larger than the device allows; MLX names both sizes in its text."""
    sizes = [int(number) for number in re.findall(r"\d+(?= bytes)", said(error))]
    needed, budget = sizes if len(sizes) == 2 else (None, None)
    return OutOfMemory(
        f"{call} asked for one buffer larger than this device allows: {_first_line(error)}. "
        "The same plan will fail again; use a smaller image or prefill step.",
        needed=needed,
        budget=budget,
    )


def _cause(error: VqaEngineError) -> Cause:
    match error:
        case ImageError():
            return "image"
        case ContextExceeded():
            return "too_long"
        case OutOfMemory():
            return "too_big" if cause_of(said(error)) == "too_big" else "out_of_memory"
        case BackendGone():
            return "gone"
        case BackendError():
            return cause_of(said(error)) or "backend"
        case _:
            return "adapter"


def _reason(error: VqaEngineError, cause: Cause) -> str:
    if isinstance(error, ImageError) and isinstance(getattr(error, "reason", None), str):
        return error.reason
    named = getattr(error, "cause", cause)
    return f"{type(error).__name__} ({named if isinstance(named, str) else cause})"


def place(error: BaseException) -> str:
    """Where the adapter was, as ` at FILE:LINE`: its innermost frame, not that of a library
    that it called. Empty where no frame is an adapter's."""
    frames = [
        (str(frame.f_globals.get("__name__")).partition(".")[0], frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    adapter = next((package for package, _, _ in frames if package != _OURS), _OURS)
    inner = [(file, line) for package, file, line in frames if package == adapter]
    if not inner:
        return ""
    file, line = inner[-1]
    return f" at {Path(file).name}:{line}"


def _first_line(error: BaseException) -> str:
    """The first line; torch appends advice and C++ stack traces."""
    return said(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
