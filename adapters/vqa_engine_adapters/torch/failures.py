"""What an exception out of torch or transformers means, read from its type and text.

CUDA has an exception type for running out of memory, MPS and the CPU have only texts
(shared/facts/memory.md, "PyTorch"); accelerate's matcher misses most of them.
"""

from __future__ import annotations

import re

from vqa_engine.errors import BackendError, OutOfMemory, VqaEngineError
from vqa_engine_adapters.mlx.failures import classify as classify_any
from vqa_engine_adapters.mlx.failures import forget

__all__ = ["classify", "forget"]

_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError"  # torch.OutOfMemoryError, whatever its text
    r"|out of memory"  # CUDA, HIP, XPU, MPS, and CUDA's own runtime
    r"|(?:can't allocate|not enough) memory"  # DefaultCPUAllocator on POSIX and on Windows
    r"|_STATUS_ALLOC_FAILED"  # cuBLAS, cuDNN, cuSPARSE work spaces
    r"|Unable to allocate"  # NumPy
    r"|bad_alloc",  # C++
    re.IGNORECASE,
)

_TOO_BIG = re.compile(r"Invalid buffer size|Tensor with > 2\*\*\d+ ", re.IGNORECASE)
"""One buffer beyond what Metal takes (ATen/mps/MPSAllocator.mm): never retry as it is."""

_POISONED = re.compile(r"CUDA error|HIP error|device-side assert|CUBLAS_STATUS|CUDNN_STATUS")
"""The device's context is lost: every later call in this process fails as well."""


def classify(error: BaseException, call: str) -> VqaEngineError:
    """The error of ours that says what `error` means.

    `call` names what was being done. One of our own comes back as it is. The caller
    raises the result `from` the original.
    """
    if isinstance(error, VqaEngineError):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return OutOfMemory(f"Out of memory in {call}: {_first(error)}. A cheaper plan may fit.")
    if _TOO_BIG.search(text):
        return OutOfMemory(
            f"{call} asked for one buffer larger than this device allows: {_first(error)}. "
            "The same plan will fail again; use a smaller image or prefill step."
        )
    if _POISONED.search(text):
        return BackendError(call, _first(error), "The device's context is lost: restart.")
    return classify_any(error, call)


def _first(error: BaseException) -> str:
    """The first line; torch appends advice and C++ stack traces."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
