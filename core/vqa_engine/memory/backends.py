"""What a backend can read and do about memory: one small class each, one protocol.

A backend's library is imported when the backend is made, in the process where the
model lives, never in the host.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vqa_engine.adapter import Backend, MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.gauges import Figure, Gauge, MlxGauge, torch_gauge
from vqa_engine.memory.gauges.mlx import DEVICE

Call = Callable[[], object]


class MemoryBackend(Protocol):
    """A library's memory counters and calls; sizes are bytes.

    `calls` are the cleanup calls it really has, by name; `array` is the type of its
    arrays, None where the garbage collector does not see them.
    """

    name: Backend
    calls: Mapping[str, Call]
    array: type | None

    def read(self) -> MemoryReading:
        """The counters now; `peak` is since the last `reset_peak`."""

    def read_held(self) -> int:
        """Live buffers and pool together, 0 where nothing counts them."""

    def limit(self) -> Figure:
        """What the device says may be held, or why it says nothing."""

    def reset_peak(self) -> None:
        """Start a new peak."""

    def set_cache_limit(self, limit: int) -> int:
        """Bound the pool of freed buffers, and say what the bound was.

        Raises:
            BackendError: this backend has no such bound.
        """


class NoBackend:
    """An adapter without a tensor library: nothing is counted, nothing can be called."""

    name: Backend = "none"
    calls: Mapping[str, Call] = {}
    array: type | None = None

    def read(self) -> MemoryReading:
        return MemoryReading()

    def read_held(self) -> int:
        return 0

    def limit(self) -> Figure:
        return Figure("limit", missing="an adapter without a backend has no counters")

    def reset_peak(self) -> None:
        """Nothing here keeps a peak."""

    def set_cache_limit(self, limit: int) -> int:
        raise _missing("set_cache_limit", self.name)


class MlxBackend:
    """MLX's allocator (`mlx.core`, top-level memory calls since 0.24.1).

    A reading costs a quarter of a microsecond (shared/facts/memory.md), so the
    process's footprint, which costs sixty times that, is not part of it.
    """

    name: Backend = "mlx"

    def __init__(self) -> None:
        self._mx = _import("mlx.core", "mlx")
        self._active = self._bind("get_active_memory")
        self._cache = self._bind("get_cache_memory")
        self._peak = self._bind("get_peak_memory")
        self._set_cache_limit = self._bind("set_cache_limit")
        self.reset_peak: Callable[[], None] = self._bind("reset_peak_memory")
        self.calls: Mapping[str, Call] = {"clear_cache": self._bind("clear_cache")}
        self.array: type | None = self._mx.array
        self._gauge = MlxGauge(self._mx)

    def read(self) -> MemoryReading:
        active, cache = self._active(), self._cache()
        # `reset_peak_memory` resets to 0, not to what is active.
        return MemoryReading(active=active, cache=cache, peak=max(self._peak(), active))

    def read_held(self) -> int:
        return int(self._active() + self._cache())

    def limit(self) -> Figure:
        """Metal's working set or CUDA's memory: the first that this device tells."""
        figures = {figure.name: figure for figure in self._gauge.device()}
        working_set, _ram, vram, _free = (figures[name] for name in DEVICE)
        return working_set if working_set.value is not None else vram

    def set_cache_limit(self, limit: int) -> int:
        return int(self._set_cache_limit(limit))

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


class TorchBackend:
    """PyTorch: CUDA and MPS have counters and a pool, the CPU has neither."""

    name: Backend = "torch"
    array: type | None = None

    def __init__(self, torch: Any = None) -> None:
        self._torch = torch or _import("torch", "torch")
        self._gauge: Gauge = torch_gauge(self._torch)
        device = self._gauge.name.removeprefix("torch ")
        self._device: Any = {"cuda": self._torch.cuda, "mps": self._torch.mps}.get(device)
        self.calls: Mapping[str, Call] = (
            {"clear_cache": self._device.empty_cache} if self._device else {}
        )
        self._reset: Call | None = getattr(self._device, "reset_peak_memory_stats", None)

    def read(self) -> MemoryReading:
        active, held, peak, *_rest = (figure.bytes for figure in self._gauge.read())
        pool = None if active is None or held is None else max(0, held - active)
        return MemoryReading(active=active, cache=pool, peak=peak)

    def read_held(self) -> int:
        return self._gauge.read()[1].bytes or 0

    def limit(self) -> Figure:
        return self._gauge.read()[3]

    def reset_peak(self) -> None:
        if self._reset is not None:
            self._reset()

    def set_cache_limit(self, limit: int) -> int:
        raise _missing("set_cache_limit", self.name)


def backend(name: Backend) -> MemoryBackend:
    """The backend an adapter's profile names.

    Raises:
        BackendError: its library is missing or lacks a call we need.
    """
    if name == "mlx":
        return MlxBackend()
    return TorchBackend() if name == "torch" else NoBackend()


def collect() -> None:
    """Collect reference cycles: arrays held in them are freed by nothing else."""
    gc.collect()


def _import(module: str, extra: str) -> Any:
    """A tensor library; only the process of the model may load it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(
            f"import {module}", str(error), f"Install it: pip install 'vqa-engine[{extra}]'"
        ) from error


def _missing(call: str, name: str) -> BackendError:
    return BackendError(call, f"the backend {name!r} has no such call")
