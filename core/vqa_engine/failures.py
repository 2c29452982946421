"""How an exception becomes a failure."""

from __future__ import annotations

import traceback

from vqa_engine.errors import (
    BackendError,
    BackendGone,
    ImageError,
    OutOfMemory,
    VqaEngineError,
)
from vqa_engine.results import Cause, Failure
from vqa_engine.worker.exit import cause_of


def describe(error: Exception) -> Failure:
    """A failure row for an exception; one that is not ours keeps its traceback."""
    if isinstance(error, VqaEngineError):
        return Failure(cause=_cause(error), message=str(error))
    detail = "".join(traceback.format_exception(error))
    message = f"{type(error).__name__}: {error}"
    return Failure(cause=cause_of(message) or "python", message=message, detail=detail)


def _cause(error: VqaEngineError) -> Cause:
    match error:
        case ImageError():
            return "image"
        case OutOfMemory():
            return "out_of_memory"
        case BackendGone():
            return "gone"
        case BackendError():
            return "backend"
        case _:
            return "adapter"
