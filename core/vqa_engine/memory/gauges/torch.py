"""PyTorch's allocators: CUDA and MPS count, the CPU's does not."""

from __future__ import annotations

from typing import Any

from vqa_engine.memory.gauges.base import Figure, Gauge, called

NAMES = ("active", "held", "peak", "limit", "free")


class CudaGauge:
    """`torch.cuda`; `held` is what the caching allocator reserves."""

    name = "torch cuda"

    def __init__(self, torch: Any) -> None:
        self._cuda = torch.cuda

    def read(self) -> tuple[Figure, ...]:
        free, total = self._cuda.mem_get_info()
        return (
            Figure("active", self._cuda.memory_allocated()),
            Figure("held", self._cuda.memory_reserved()),
            Figure("peak", self._cuda.max_memory_allocated()),
            Figure("limit", total),
            Figure("free", free),
        )


class MpsGauge:
    """`torch.mps`; `held` is the driver's figure, the only one that shows MPSGraph's
    caches (shared/facts/memory.md, "PyTorch")."""

    name = "torch mps"

    def __init__(self, torch: Any) -> None:
        self._mps = torch.mps

    def read(self) -> tuple[Figure, ...]:
        return (
            called("active", self._mps, "current_allocated_memory", "torch.mps"),
            called("held", self._mps, "driver_allocated_memory", "torch.mps"),
            Figure("peak", missing="torch.mps keeps no peak"),
            called("limit", self._mps, "recommended_max_memory", "torch.mps"),
            Figure("free", missing="torch.mps does not say it"),
        )


class TorchCpuGauge:
    """PyTorch on the CPU."""

    name = "torch cpu"

    def read(self) -> tuple[Figure, ...]:
        return tuple(Figure(name, missing="torch counts nothing on the CPU") for name in NAMES)


def torch_gauge(torch: Any) -> Gauge:
    """The gauge of the device that torch would use.

    `is_available` is asked first: `torch.mps` and `torch.accelerator` raise without one.
    """
    if torch.cuda.is_available():
        return CudaGauge(torch)
    if torch.backends.mps.is_available():
        return MpsGauge(torch)
    return TorchCpuGauge()
