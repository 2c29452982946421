"""MLX's memory: its allocator, its device, and the texts of its failures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from vqa_engine.adapter import MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.backend import Call, Library, MemoryBackend
from vqa_engine.memory.gauges import AvailableGauge, Figure
from vqa_engine.memory.gauges.system import sysctl

_METAL_SHARE = 0.74
"""Metal's working set as a share of RAM, the lowest measured: 74–75 % on 24–48 GB, 81–84 %
on 64–128 GB (docs/facts/memory.md). Only for `fit`, where no MLX is loaded to ask."""

_WORKING_SET, _VRAM, _FREE = "max_recommended_working_set_size", "total_memory", "free_memory"
"""What `device_info` may hold: the first on Metal, the others on CUDA, none on the CPU
(docs/facts/memory.md, "MLX memory API")."""


class MlxBackend(MemoryBackend):
    """MLX's allocator (`mlx.core`, top-level memory calls since 0.24.1).

    MLX counts all its devices together. A reading costs a quarter of a microsecond
    (docs/facts/memory.md), so the process's footprint, which costs sixty times that, is
    not part of it. `mx` is a stand-in for `mlx.core`.
    """

    name = "mlx"
    library = Library(
        module="mlx.core",
        requirement="vqa-engine[mlx]",
        distributions=("mlx", "mlx-vlm", "transformers"),
        heavy=("mlx", "mlx_lm", "mlx_vlm", "transformers"),
        failures=(
            # mlx/backend/metal/allocator.cpp: one buffer over MTLDevice.maxBufferLength
            ("too_big", r"maximum allowed buffer size"),
            # mlx/backend/metal/allocator.cpp: too many live buffers (mlx #1718, #3849)
            ("handle_limit", r"Resource limit \(\d+\) exceeded"),
            # Metal's MTLCommandBufferError, as mlx/backend/metal/device.cpp prints it
            ("watchdog", r"ImpactingInteractivity|CallbackErrorTimeout|Caused GPU Timeout"),
            ("out_of_memory", r"Insufficient Memory|CallbackErrorOutOfMemory"),
            # mlx/allocator.cpp
            ("out_of_memory", r"\[malloc[^\]]*\] Unable to allocate"),
            # mlx/stream.cpp: a stream belongs to the thread that made it
            ("backend", r"no Stream\([cg]pu"),
        ),
    )

    def __init__(self, device: str | None = None, *, mx: Any = None) -> None:
        self._mx = mx or self.library.load()
        self._active = self._bind("get_active_memory")
        self._cache = self._bind("get_cache_memory")
        self._peak = self._bind("get_peak_memory")
        self._set_cache_limit = self._bind("set_cache_limit")
        self._set_memory_limit = self._bind("set_memory_limit")
        self._reset_peak = self._bind("reset_peak_memory")
        self.calls: Mapping[str, Call] = {"clear_cache": self._bind("clear_cache")}
        self.array: type | None = self._mx.array
        self.runs_ahead = self._mx.default_device().type == self._mx.gpu

    @classmethod
    def expected_limit(cls) -> Figure:
        """On a Mac what Metal is likely to recommend: the limit that was set, or a share."""
        if sys.platform != "darwin":
            return super().expected_limit()
        name = "iogpu.wired_limit_mb"
        try:
            megabytes = sysctl(name)
        except OSError:
            megabytes = 0  # older macOS: the limit cannot be set there
        if megabytes:
            return Figure(name, megabytes << 20)
        total = AvailableGauge().read()[1]
        if total.value is None:
            return total
        return Figure(f"{_METAL_SHARE:.0%} of RAM", total.value * _METAL_SHARE)

    def describe(self) -> str:
        kind: str = self._mx.default_device().type.name
        return f"{kind} {self._info().get('device_name', '')}".strip()

    def read(self) -> MemoryReading:
        active, cache = self._active(), self._cache()
        # `reset_peak_memory` resets to 0, not to what is active.
        return MemoryReading(active=active, cache=cache, peak=max(self._peak(), active))

    def read_held(self) -> int:
        return int(self._active() + self._cache())

    def limit(self) -> Figure:
        """Metal's working set or CUDA's memory: the first that this device names."""
        working_set = self._told(_WORKING_SET)
        return working_set if working_set.value is not None else self._told(_VRAM)

    def free(self) -> Figure:
        """Known on CUDA only."""
        return self._told(_FREE)

    def outside(self, process: int) -> int:
        return process - self.read_held()

    def reset_peak(self) -> None:
        self._reset_peak()

    def set_cache_limit(self, limit: int) -> int:
        return int(self._set_cache_limit(limit))

    def set_memory_limit(self, limit: int) -> int:
        """MLX has ten tasks under way, and past this waits for one of them (mlx/transforms.cpp)."""
        return int(self._set_memory_limit(limit))

    def _info(self) -> dict[str, Any]:
        ask = getattr(self._mx, "device_info", None)
        return ask() if ask else {}

    def _told(self, key: str) -> Figure:
        info = self._info()
        if key in info:
            return Figure(key, info[key])
        return Figure(key, missing=f"mlx.core.device_info has no {key} on this device")

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
