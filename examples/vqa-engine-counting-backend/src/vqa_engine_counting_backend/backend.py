"""The backend: what vqa-engine can read and do about the library's memory.

Importing this module must not import the library: the host process reads `library`.
"""

from __future__ import annotations

from vqa_engine.adapter import MemoryReading
from vqa_engine.memory.backend import Library, MemoryBackend
from vqa_engine.memory.gauges import Figure


class CountingBackend(MemoryBackend):
    """The counters of the allocator in `buffers`; it has one device."""

    name = "counting"
    library = Library(
        module="vqa_engine_counting_backend.buffers",
        requirement="vqa-engine-counting-backend",
        distributions=("vqa-engine-counting-backend",),
        failures=(("out_of_memory", r"buffers: no room left on device"),),
    )

    def __init__(self, device: str | None = None) -> None:
        self._library = self.library.load()
        self._allocator = self._library.ALLOCATOR
        self.calls = {"clear_cache": self._allocator.clear}
        self.array = self._library.Buffer

    def describe(self) -> str:
        return "bytearray"

    def read(self) -> MemoryReading:
        counted = self._allocator
        return MemoryReading(active=counted.active, cache=counted.pooled, peak=counted.peak)

    def read_held(self) -> int:
        return int(self._allocator.active + self._allocator.pooled)

    def limit(self) -> Figure:
        return Figure("capacity", self._library.CAPACITY)

    def outside(self, process: int) -> int:
        return process - self.read_held()

    def reset_peak(self) -> None:
        self._allocator.peak = self._allocator.active
