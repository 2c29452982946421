"""What an exception out of MLX or mlx-vlm means, read from its text.

MLX has one exception type for everything (`RuntimeError`), so the text decides. The texts
are those of shared/facts/memory.md, "Texts to classify".
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable

from vqa_engine.errors import AnswerError, BackendError, OutOfMemory, VqaEngineError

_NUMBERS = re.compile(r"\d+")

_OUT_OF_MEMORY = (
    "insufficient memory",  # Metal, command buffer
    "outofmemory",  # kIOGPUCommandBufferCallbackErrorOutOfMemory
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # CPU
    "unable to allocate",  # MLX malloc; numpy
    "bad_alloc",
)


def classify(error: BaseException, call: str) -> VqaEngineError:
    """The error of ours that says what `error` means.

    `call` names what was being done, e.g. `mlx_vlm.generate_step`. One of our own errors
    comes back as it is. The caller raises the result `from` the original.
    """
    if isinstance(error, VqaEngineError):
        return error
    text = f"{type(error).__name__}: {error}".lower()
    if "maximum allowed buffer size" in text:
        return _too_big(error, call)
    if isinstance(error, MemoryError) or any(known in text for known in _OUT_OF_MEMORY):
        return OutOfMemory(f"Out of memory in {call}: {error}. A cheaper plan may fit.")
    for known, build in _BACKEND.items():
        if known in text:
            return build(call, str(error))
    cause = type(error).__name__
    return AnswerError(f"{call} failed with {cause}: {error}", cause=cause)


def _too_big(error: BaseException, call: str) -> OutOfMemory:
    """One buffer larger than the device allows: `needed` and `budget` are in the text."""
    sizes = [int(number) for number in _NUMBERS.findall(str(error))]
    needed, budget = (sizes[0], sizes[1]) if len(sizes) == 2 else (None, None)
    return OutOfMemory(
        f"{call} asked for one buffer larger than this device allows: {error}. "
        "The same plan will fail again; use a smaller image or prefill step.",
        needed=needed,
        budget=budget,
    )


def _handles(call: str, reason: str) -> BackendError:
    return BackendError(call, reason, "Too many buffers are alive: clear the pool or restart.")


def _watchdog(call: str, reason: str) -> BackendError:
    return BackendError(
        call, reason, "The GPU's watchdog stopped a step that ran too long: use a smaller one."
    )


def _thread(call: str, reason: str) -> BackendError:
    return BackendError(call, reason, "Load and answer on one and the same thread.")


_BACKEND: dict[str, Callable[[str, str], BackendError]] = {
    "resource limit": _handles,
    "impactinginteractivity": _watchdog,
    "timeout": _watchdog,
    "no stream(gpu": _thread,
    "no stream(cpu": _thread,
}


def forget(error: BaseException) -> None:
    """Let go of the arrays that a failed call's frames hold.

    An exception keeps its frames alive, and they keep the question's arrays; without this
    a failure that somebody stores would hold its memory for as long.
    """
    link: BaseException | None = error
    cleared: set[int] = set()  # a chain may be a ring
    while link is not None and id(link) not in cleared:
        traceback.clear_frames(link.__traceback__)
        cleared.add(id(link))
        link = link.__cause__ or link.__context__
