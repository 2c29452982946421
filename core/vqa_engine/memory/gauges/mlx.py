"""MLX's allocator and its device."""

from __future__ import annotations

from typing import Any

from vqa_engine.memory.gauges.base import Figure, called

LABEL = "mlx.core"

DEVICE = ("max_recommended_working_set_size", "memory_size", "total_memory", "free_memory")
"""What `device_info` may hold: the first two on Metal, the others on CUDA, none on the CPU
(shared/facts/memory.md, "MLX memory API")."""


class MlxGauge:
    """Counters, limits and device figures of `mlx.core`, passed in so that this module
    imports no library."""

    name = "mlx"

    def __init__(self, mx: Any) -> None:
        self._mx = mx

    def read(self) -> tuple[Figure, ...]:
        counters = (
            ("active", "get_active_memory"),
            ("cache", "get_cache_memory"),
            ("peak", "get_peak_memory"),
            ("memory limit", "get_memory_limit"),
        )
        return (
            *(called(name, self._mx, call, LABEL) for name, call in counters),
            *self.device(),
        )

    def device(self) -> tuple[Figure, ...]:
        """What the device says of itself."""
        ask = getattr(self._mx, "device_info", None)
        info: dict[str, Any] = ask() if ask else {}
        reason = "mlx.core.device_info does not say it on this device"
        return tuple(
            Figure(key, info[key]) if key in info else Figure(key, missing=reason) for key in DEVICE
        )
