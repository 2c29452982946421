"""PyTorch's allocators: CUDA and MPS count, the CPU's does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vqa_engine.memory.gauges.base import Figure, Gauge, called

COUNTERS, DEVICE = ("active", "held", "peak"), ("limit", "free")


class TorchGauge(Gauge, Protocol):
    """The figures of one of torch's devices; `device` is its name with its index."""

    device: str

    def counters(self) -> tuple[Figure, ...]:
        """`COUNTERS`, cheap enough for every question."""

    def memory(self) -> tuple[Figure, ...]:
        """`DEVICE`: what the device has in all, and what nobody uses of it."""


class CudaGauge:
    """`torch.cuda`; `held` is what the caching allocator reserves.

    `active` and `peak` are the bytes that were asked for, so that they add up to those of
    the tensors: what `memory_allocated` says is rounded up for each of them, by 512 bytes
    or by a whole remainder of a block (c10/cuda/CUDACachingAllocator.cpp, `should_split`).

    One call gives all counters, as nested mappings: `memory_allocated` and its like flatten
    the same mappings each time, for every figure.
    """

    name = "torch cuda"

    def __init__(self, torch: Any, index: int | None = None) -> None:
        self._cuda = torch.cuda
        self._index: int = torch.cuda.current_device() if index is None else index
        self.device = f"cuda:{self._index}"

    def counters(self) -> tuple[Figure, ...]:
        told: Mapping[str, Any] = self._cuda.memory_stats_as_nested_dict(self._index)
        asked, allocated, reserved = (
            told.get(f"{kind}_bytes", {}).get("all", {})  # nothing is told before first use
            for kind in ("requested", "allocated", "reserved")
        )
        live = asked if asked.get("peak") else allocated  # cudaMallocAsync knows no others
        return (
            Figure("active", live.get("current", 0)),
            Figure("held", reserved.get("current", 0)),
            Figure("peak", live.get("peak", 0)),
        )

    def memory(self) -> tuple[Figure, ...]:
        free, total = self._cuda.mem_get_info(self._index)
        return Figure("limit", total), Figure("free", free)

    def read(self) -> tuple[Figure, ...]:
        return *self.counters(), *self.memory()


class MpsGauge:
    """`torch.mps`; `held` is the driver's figure, the only one that shows MPSGraph's
    caches (shared/facts/memory.md, "PyTorch")."""

    name, device = "torch mps", "mps:0"

    def __init__(self, torch: Any) -> None:
        self._mps = torch.mps

    def counters(self) -> tuple[Figure, ...]:
        return (
            called("active", self._mps, "current_allocated_memory", "torch.mps"),
            called("held", self._mps, "driver_allocated_memory", "torch.mps"),
            Figure("peak", missing="torch.mps keeps no peak"),
        )

    def memory(self) -> tuple[Figure, ...]:
        return (
            called("limit", self._mps, "recommended_max_memory", "torch.mps"),
            Figure("free", missing="a Mac's memory is the system's"),
        )

    def read(self) -> tuple[Figure, ...]:
        return *self.counters(), *self.memory()


class UncountedGauge:
    """PyTorch on the CPU, and on devices that we cannot read."""

    def __init__(self, device: str = "cpu") -> None:
        self.name, self.device = f"torch {device}", device
        self._missing = f"torch counts nothing on the device {device!r} that we could read"

    def counters(self) -> tuple[Figure, ...]:
        return tuple(Figure(name, missing=self._missing) for name in COUNTERS)

    def memory(self) -> tuple[Figure, ...]:
        return tuple(Figure(name, missing=self._missing) for name in DEVICE)

    def read(self) -> tuple[Figure, ...]:
        return *self.counters(), *self.memory()


def torch_gauge(torch: Any, device: str | None = None) -> TorchGauge:
    """The gauge of a device (`cuda:1`), or of the one that torch would use.

    `is_available` is asked first: `torch.mps` and `torch.accelerator` raise without one.
    """
    kind, _, index = (device or preferred(torch)).partition(":")
    if kind == "cuda" and torch.cuda.is_available():
        return CudaGauge(torch, int(index) if index else None)
    if kind == "mps" and torch.backends.mps.is_available():
        return MpsGauge(torch)
    return UncountedGauge(kind)


def preferred(torch: Any) -> str:
    """CUDA before MPS before the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
