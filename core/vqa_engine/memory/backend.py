"""What a memory backend is: a tensor library's counters and calls, offered by a plugin.

A package names its subclass of `MemoryBackend` in the entry-point group
`vqa_engine.memory_backends`. The entry point's name is what an adapter's
`MemoryProfile.backend` says. Everything here is public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

from vqa_engine.adapter import MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.gauges.base import Figure
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS
from vqa_engine.plugins.library import Library, TextCause

__all__ = ["GROUP", "Call", "Library", "MemoryBackend", "NoBackend", "TextCause"]

GROUP = MEMORY_BACKENDS

Call = Callable[[], object]


@runtime_checkable
class MemoryBackend(Protocol):
    """A library's memory counters and calls on one device; sizes are bytes.

    Subclass it, and override what the library has: the defaults count nothing. The class
    itself imports nothing heavy, because the host reads its `library`; making an object may.

    `device` is the device that is counted, None where all are counted together. `calls` are
    the cleanup calls that exist here, by name; strategies look for `clear_cache`. `array` is
    the type of the library's arrays, None where the garbage collector does not see them.
    `runs_ahead` says that the library allocates for what comes next before what is under way
    has given back its buffers, by how much differs from time to time, and that
    `set_memory_limit` bounds it at no cost: each question is then held to what it needs.
    """

    name: ClassVar[str]
    library: ClassVar[Library]
    device: str | None = None
    calls: Mapping[str, Call] = {}
    array: type | None = None
    runs_ahead: bool = False

    def __init__(self, device: str | None = None) -> None:
        """Count on this device, or on the one that the library prefers."""
        self.device = device

    @classmethod
    def expected_limit(cls) -> Figure:
        """What `limit` is likely to say, without the library: `vqa-engine fit` asks."""
        return Figure("limit", missing=f"the backend {cls.name!r} must be loaded to say it")

    def describe(self) -> str:
        """The device in words, for `vqa-engine doctor`."""
        return self.device or ""

    def read(self) -> MemoryReading:
        """The counters now; `peak` is since the last `reset_peak`."""
        return MemoryReading()

    def read_held(self) -> int:
        """Live buffers and pool together, 0 where nothing counts them."""
        return 0

    def limit(self) -> Figure:
        """What the device says may be held, or why it says nothing."""
        return Figure("limit", missing=f"the backend {self.name!r} has no counters")

    def free(self) -> Figure:
        """What nobody uses of the device's own memory; missing where it is the system's."""
        return Figure("free", missing=f"the backend {self.name!r} has no device of its own")

    def outside(self, process: int) -> int:
        """What lies outside the allocator, given the bytes of the process.

        What grows there no counter explains, and no call is known to give it back.
        """
        return process

    def reset_peak(self) -> None:
        """Start a new peak."""
        return  # a protocol's empty method would be abstract

    def set_cache_limit(self, limit: int) -> int:
        """Bound the pool of freed buffers, and return the previous bound.

        Raises:
            BackendError: this backend has no such bound.
        """
        raise BackendError("set_cache_limit", f"the backend {self.name!r} has no such call")

    def set_memory_limit(self, limit: int) -> int | None:
        """Have the library wait while its live buffers are past this bound; the previous bound.

        None where it has no such bound.
        """
        return None

    def sum_arrays(self) -> int | None:
        """Bytes of all arrays that are alive, found one by one: for tests where nothing counts.

        None where they cannot be found.
        """
        return None


class NoBackend(MemoryBackend):
    """An adapter without a tensor library: nothing is counted, nothing can be called."""

    name = "none"
    library = Library()
