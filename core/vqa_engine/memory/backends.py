"""What a backend can read and do about memory: one small class each, one protocol.

A backend's library is imported when the backend is made, in the process where the
model lives, never in the host.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from vqa_engine.adapter import MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.gauges import Figure, MlxGauge, torch_gauge

Call = Callable[[], object]


class MemoryBackend(Protocol):
    """A library's memory counters and calls; sizes are bytes.

    `device` names the one device that is counted, None where all are counted together.
    `calls` are the cleanup calls it really has, by name; `array` is the type of its
    arrays, None where the garbage collector does not see them.
    """

    name: str
    device: str | None
    calls: Mapping[str, Call]
    array: type | None

    def read(self) -> MemoryReading:
        """The counters now; `peak` is since the last `reset_peak`."""

    def read_held(self) -> int:
        """Live buffers and pool together, 0 where nothing counts them."""

    def limit(self) -> Figure:
        """What the device says may be held, or why it says nothing."""

    def free(self) -> Figure:
        """What nobody uses of the device's own memory; missing where it is the system's."""

    def outside(self, process: int) -> int:
        """What lies outside the allocator, given the bytes of the process.

        What grows there no counter explains, and no call is known to give it back.
        """

    def reset_peak(self) -> None:
        """Start a new peak."""

    def set_cache_limit(self, limit: int) -> int:
        """Bound the pool of freed buffers, and say what the bound was.

        Raises:
            BackendError: this backend has no such bound.
        """


class NoBackend:
    """An adapter without a tensor library: nothing is counted, nothing can be called."""

    name: str = "none"
    device: str | None = None
    calls: Mapping[str, Call] = {}
    array: type | None = None

    def read(self) -> MemoryReading:
        return MemoryReading()

    def read_held(self) -> int:
        return 0

    def limit(self) -> Figure:
        return Figure("limit", missing="an adapter without a backend has no counters")

    def free(self) -> Figure:
        return Figure("free", missing="an adapter without a backend has no device")

    def outside(self, process: int) -> int:
        return process

    def reset_peak(self) -> None:
        """Nothing here keeps a peak."""

    def set_cache_limit(self, limit: int) -> int:
        raise _missing("set_cache_limit", self.name)


class MlxBackend:
    """MLX's allocator (`mlx.core`, top-level memory calls since 0.24.1).

    A reading costs a quarter of a microsecond (shared/facts/memory.md), so the
    process's footprint, which costs sixty times that, is not part of it.
    """

    name: str = "mlx"
    device: str | None = None

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
        working_set, _ram, vram, _free = self._gauge.device()
        return working_set if working_set.value is not None else vram

    def free(self) -> Figure:
        """Told on CUDA only."""
        return self._gauge.device()[3]

    def outside(self, process: int) -> int:
        return process - self.read_held()

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
    """PyTorch: CUDA and MPS have counters and a pool, the CPU has neither.

    `device` is torch's name of the device to count on, its preferred one by default.
    """

    name: str = "torch"
    array: type | None = None

    def __init__(self, torch: Any = None, device: str | None = None) -> None:
        torch = torch or _import("torch", "torch")
        self._gauge = torch_gauge(torch, device)
        self.device: str | None = self._gauge.device
        kind, _, index = self._gauge.device.partition(":")
        self.calls: Mapping[str, Call] = {}
        self._reset: Call | None = None
        if kind == "cuda":
            self.calls = {"clear_cache": partial(_clear_cuda, torch)}
            self._reset = partial(torch.cuda.reset_peak_memory_stats, int(index))
        elif kind == "mps":
            self.calls = {"clear_cache": torch.mps.empty_cache}
        self._shares = kind == "mps"

    def read(self) -> MemoryReading:
        active, held, peak = (figure.bytes for figure in self._gauge.counters())
        pool = None if active is None or held is None else max(0, held - active)
        return MemoryReading(active=active, cache=pool, peak=peak)

    def read_held(self) -> int:
        return self._gauge.counters()[1].bytes or 0

    def limit(self) -> Figure:
        return self._gauge.memory()[0]

    def free(self) -> Figure:
        return self._gauge.memory()[1]

    def outside(self, process: int) -> int:
        """On MPS also what the driver holds beyond the allocator, pool and MPSGraph alike:
        only clearing the pool tells them apart. CUDA's memory is no part of the process."""
        if not self._shares:
            return process
        active, held, _peak = (figure.bytes or 0 for figure in self._gauge.counters())
        return max(0, process - held) + held - active

    def reset_peak(self) -> None:
        if self._reset is not None:
            self._reset()

    def set_cache_limit(self, limit: int) -> int:
        raise _missing("set_cache_limit", self.name)


def _clear_cuda(torch: Any) -> None:
    """Give back cuBLAS's work spaces, one for each stream that has multiplied, and the pool."""
    clear_work_spaces = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear_work_spaces is not None:  # no public call reaches them
        clear_work_spaces()
    torch.cuda.empty_cache()


def backend(name: str, device: str | None = None) -> MemoryBackend:
    """The backend and the device that an adapter's profile names.

    Raises:
        BackendError: its library is missing or lacks a call we need.
    """
    if name == "mlx":
        return MlxBackend()
    return TorchBackend(device=device) if name == "torch" else NoBackend()


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
