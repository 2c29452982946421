"""PyTorch's memory: CUDA and MPS count it, the CPU's allocator does not."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from vqa_engine.adapter import MemoryReading
from vqa_engine.memory.backend import Call, Library, MemoryBackend
from vqa_engine.memory.gauges import Figure, called

_COUNTERS, _DEVICE = ("active", "held", "peak"), ("limit", "free")


class TorchBackend(MemoryBackend):
    """PyTorch: CUDA and MPS have counters and a pool, the CPU has neither.

    `device` is torch's name of the device to count on (`cuda:1`). `torch` is a stand-in for
    the library.
    """

    name = "torch"
    library = Library(
        module="torch",
        requirement="vqa-engine[torch]",
        distributions=("torch", "transformers"),
        heavy=("torch", "transformers"),
        failures=(
            # ATen/mps/MPSAllocator.mm: one buffer beyond what Metal takes
            ("too_big", r"Invalid buffer size|Tensor with > 2\*\*\d+ "),
            # torch.OutOfMemoryError, c10/cuda and aten/mps allocators, CUDA's own runtime
            (
                "out_of_memory",
                r"OutOfMemoryError|(?:CUDA|HIP|XPU)(?: \w+)*:? out of memory|MPS backend out of",
            ),
            # c10/core/impl/alloc_cpu.cpp, on POSIX and on Windows
            ("out_of_memory", r"DefaultCPUAllocator: (?:can't|not enough)|can't allocate memory"),
            # Work spaces of cuBLAS, cuDNN and cuSPARSE
            ("out_of_memory", r"_STATUS_ALLOC_FAILED"),
            # A poisoned context: every later call in this process fails as well
            ("backend", r"(?:CUDA|HIP) error|device-side assert|CUBLAS_STATUS|CUDNN_STATUS"),
        ),
    )

    def __init__(self, device: str | None = None, *, torch: Any = None) -> None:
        self._torch = torch = torch or self.library.load()
        self._gauge = _gauge(torch, device)
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

    def describe(self) -> str:
        kind, _, index = self._gauge.device.partition(":")
        return f"cuda {self._torch.cuda.get_device_name(int(index))}" if kind == "cuda" else kind

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
        only clearing the pool shows which is which. CUDA's memory is not the process's."""
        if not self._shares:
            return process
        active, held, _peak = (figure.bytes or 0 for figure in self._gauge.counters())
        return max(0, process - held) + held - active

    def reset_peak(self) -> None:
        if self._reset is not None:
            self._reset()

    def sum_arrays(self) -> int:
        """The storages of all live tensors and parameters, each counted once."""
        kinds = (self._torch.Tensor, self._torch.nn.Parameter)
        alive = (one for one in gc.get_objects() if type(one) in kinds)
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in alive}
        return sum(storage.nbytes() for storage in storages.values())


def preferred(torch: Any) -> str:
    """CUDA before MPS before the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _clear_cuda(torch: Any) -> None:
    """Give back cuBLAS's work spaces, one for each stream that has multiplied, and the pool."""
    clear_work_spaces = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear_work_spaces is not None:  # no public call reaches them
        clear_work_spaces()
    torch.cuda.empty_cache()


class _Gauge(Protocol):
    """The figures of one of torch's devices; `device` is its name with its index."""

    device: str

    def counters(self) -> tuple[Figure, ...]:
        """`_COUNTERS`, cheap enough for every question."""

    def memory(self) -> tuple[Figure, ...]:
        """`_DEVICE`: what the device has in all, and what nobody uses of it."""


class _Cuda:
    """`torch.cuda`; `held` is what the caching allocator reserves.

    `active` and `peak` are the bytes that were asked for, so that they add up to those of
    the tensors: what `memory_allocated` says is rounded up for each of them, by 512 bytes
    or by a whole remainder of a block (c10/cuda/CUDACachingAllocator.cpp, `should_split`).

    One call gives all counters, as nested mappings: `memory_allocated` and its like flatten
    the same mappings each time, for every figure.
    """

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


class _Mps:
    """`torch.mps`; `held` is the driver's figure, the only one that shows MPSGraph's
    caches (docs/facts/memory.md, "PyTorch")."""

    device = "mps:0"

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


class _Uncounted:
    """PyTorch on the CPU, and on devices that we cannot read."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._missing = f"torch counts nothing on the device {device!r} that we could read"

    def counters(self) -> tuple[Figure, ...]:
        return tuple(Figure(name, missing=self._missing) for name in _COUNTERS)

    def memory(self) -> tuple[Figure, ...]:
        return tuple(Figure(name, missing=self._missing) for name in _DEVICE)


def _gauge(torch: Any, device: str | None = None) -> _Gauge:
    """The gauge of a device (`cuda:1`), or of the one that torch would use.

    `is_available` is asked first: `torch.mps` and `torch.accelerator` raise without one.
    """
    kind, _, index = (device or preferred(torch)).partition(":")
    if kind == "cuda" and torch.cuda.is_available():
        return _Cuda(torch, int(index) if index else None)
    if kind == "mps" and torch.backends.mps.is_available():
        return _Mps(torch)
    return _Uncounted(kind)
