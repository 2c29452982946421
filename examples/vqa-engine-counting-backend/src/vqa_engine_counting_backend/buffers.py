"""A stand-in for a tensor library: buffers in a device's memory, counted by their allocator."""

from __future__ import annotations

CAPACITY = 1 << 30
"""Bytes of the device."""


class DeviceFull(RuntimeError):
    """The library's own error; its text is all that a host process ever sees of it."""


class Allocator:
    """Counts the bytes of live buffers, and keeps freed ones for reuse."""

    def __init__(self) -> None:
        self.active = self.peak = 0
        self.pool: list[bytearray] = []

    @property
    def pooled(self) -> int:
        """Bytes of freed buffers that are kept."""
        return sum(map(len, self.pool))

    def take(self, size: int) -> bytearray:
        """Memory of this many bytes, from the pool if there is some."""
        fitting = next((one for one in self.pool if len(one) == size), None)
        if fitting is not None:
            self.pool.remove(fitting)
        elif self.active + self.pooled + size > CAPACITY:
            raise DeviceFull(f"buffers: no room left on device for {size} bytes")
        self.active += size
        self.peak = max(self.peak, self.active)
        return bytearray(size) if fitting is None else fitting

    def give_back(self, memory: bytearray) -> None:
        """Move a buffer's memory to the pool."""
        self.active -= len(memory)
        self.pool.append(memory)

    def clear(self) -> None:
        """Give the pool back to the system."""
        self.pool.clear()


ALLOCATOR = Allocator()


class Buffer:
    """Bytes on the device; they go back to the pool with the last reference."""

    def __init__(self, size: int) -> None:
        self._memory = ALLOCATOR.take(size)

    def write(self, content: bytes) -> None:
        """Fill the buffer from its start."""
        self._memory[: len(content)] = content

    def mean(self) -> int:
        """The mean of all its bytes."""
        return sum(self._memory) // len(self._memory)

    def __del__(self) -> None:
        memory = self.__dict__.pop("_memory", None)  # there is none when the device was full
        if memory is not None:
            ALLOCATOR.give_back(memory)
