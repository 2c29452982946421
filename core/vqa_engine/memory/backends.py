"""What a backend can read and do about memory: one small class each, one protocol.

A backend's library is imported when the backend is made, in the process where the
model lives, never in the host.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Protocol

import psutil

from vqa_engine.adapter import Backend, MemoryReading
from vqa_engine.errors import BackendError


class MemoryBackend(Protocol):
    """A library's memory counters and calls; sizes are bytes."""

    name: Backend

    def read(self) -> MemoryReading:
        """The counters now; `peak` is since the last `reset_peak`."""

    def reset_peak(self) -> None:
        """Start a new peak."""

    def clear_cache(self) -> None:
        """Give the pool of freed buffers back to the system."""

    def set_cache_limit(self, limit: int) -> None:
        """Bound the pool of freed buffers.

        Raises:
            BackendError: this backend has no such bound.
        """


class NoBackend:
    """An adapter without a tensor library: only the process itself can be read."""

    name: Backend = "none"

    def __init__(self) -> None:
        self._process = psutil.Process()

    def read(self) -> MemoryReading:
        return MemoryReading(footprint=self._process.memory_info().rss)

    def reset_peak(self) -> None:
        """Nothing here keeps a peak."""

    def clear_cache(self) -> None:
        """Nothing here keeps a pool."""

    def set_cache_limit(self, limit: int) -> None:
        raise _missing("set_cache_limit", self.name)


class MlxBackend:
    """MLX's allocator (`mlx.core`, top-level memory calls since 0.24.1).

    A reading costs a quarter of a microsecond (shared/facts/memory.md), so the
    process's footprint, which costs a hundred times that, is not part of it.
    """

    name: Backend = "mlx"

    def __init__(self) -> None:
        self._mx = _mlx()
        self._active = self._bind("get_active_memory")
        self._cache = self._bind("get_cache_memory")
        self._peak = self._bind("get_peak_memory")
        self.reset_peak: Callable[[], None] = self._bind("reset_peak_memory")
        self.clear_cache: Callable[[], None] = self._bind("clear_cache")
        self._set_cache_limit = self._bind("set_cache_limit")

    def read(self) -> MemoryReading:
        active, cache = self._active(), self._cache()
        # `reset_peak_memory` resets to 0, not to what is active.
        return MemoryReading(active=active, cache=cache, peak=max(self._peak(), active))

    def set_cache_limit(self, limit: int) -> None:
        self._set_cache_limit(limit)

    def _bind(self, call: str) -> Callable[..., Any]:
        function = getattr(self._mx, call, None)
        if function is None:
            raise BackendError(
                f"mlx.core.{call}",
                "this version of MLX does not have it",
                "Install mlx>=0.32.1: pip install --upgrade mlx",
            )
        bound: Callable[..., Any] = function
        return bound


def backend(name: Backend) -> MemoryBackend:
    """The backend an adapter's profile names.

    Raises:
        BackendError: its library is missing or lacks a call we need.
    """
    if name == "mlx":
        return MlxBackend()
    return NoBackend()


def collect() -> None:
    """Collect reference cycles: arrays held in them are freed by nothing else."""
    gc.collect()


def _mlx() -> Any:
    try:
        import mlx.core as mx  # noqa: PLC0415  only the process of the model may load it
    except ImportError as error:
        raise BackendError(
            "import mlx.core", str(error), "Install it: pip install 'vqa-engine[mlx]'"
        ) from error
    return mx


def _missing(call: str, name: str) -> BackendError:
    return BackendError(call, f"the backend {name!r} has no such call")
