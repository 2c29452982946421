"""What a memory backend is: a tensor library's counters and calls, offered by a plugin.

A package names its subclass of `MemoryBackend` in the entry-point group
`vqa_engine.memory_backends`. The entry point's name is what an adapter's
`MemoryProfile.backend` says. Everything here is public.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

from attrs import field, frozen

from vqa_engine.adapter import MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.gauges.base import Figure
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS

GROUP = MEMORY_BACKENDS

Call = Callable[[], object]

TextCause = Literal["too_big", "handle_limit", "watchdog", "out_of_memory", "backend"]
"""What an error text can mean, the most specific first.

`too_big` is one buffer beyond what the device allows, `handle_limit` too many buffers,
`watchdog` a step that took too long, `backend` a device that is of no more use to this process.
"""


def _readable(_instance: object, _attribute: object, texts: tuple[tuple[str, str], ...]) -> None:
    for cause, pattern in texts:
        if cause not in get_args(TextCause):
            raise ValueError(f"{cause!r} is not one of {', '.join(get_args(TextCause))}")
        re.compile(pattern)


@frozen(kw_only=True)
class Library:
    """What is known of a backend's library without importing it.

    `module` is the module that the backend imports, empty for none, and `requirement` what
    pip installs for it. `distributions` are the packages whose versions decide what a model
    says, `heavy` the top-level modules that importing a plugin must not import.

    `failures` are (cause, regular expression) pairs, the most specific first. They are
    searched in the text of an exception, and in what a dead worker printed.
    """

    module: str = ""
    requirement: str = ""
    distributions: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    failures: tuple[tuple[TextCause, str], ...] = field(default=(), validator=_readable)

    @property
    def is_installed(self) -> bool:
        """Whether the library can be found; nothing is imported."""
        return not self.module or bool(importlib.util.find_spec(self.module.partition(".")[0]))

    @property
    def remedy(self) -> str:
        """How to install it."""
        return f"Install it: pip install '{self.requirement}'"

    def load(self) -> Any:
        """Import the library; only the process of the model may do that.

        Raises:
            BackendError: it is not installed, or its import failed.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            raise BackendError(f"import {self.module}", str(error), self.remedy) from error


@runtime_checkable
class MemoryBackend(Protocol):
    """A library's memory counters and calls on one device; sizes are bytes.

    Subclass it, and override what the library has: the defaults count nothing. The class
    itself imports nothing heavy, because the host reads its `library`; making an object may.

    `device` is the device that is counted, None where all are counted together. `calls` are
    the cleanup calls that exist here, by name; strategies look for `clear_cache`. `array` is
    the type of the library's arrays, None where the garbage collector does not see them.
    """

    name: ClassVar[str]
    library: ClassVar[Library]
    device: str | None = None
    calls: Mapping[str, Call] = {}
    array: type | None = None

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

    def sum_arrays(self) -> int | None:
        """Bytes of all arrays that are alive, found one by one: for tests where nothing counts.

        None where they cannot be found.
        """
        return None


class NoBackend(MemoryBackend):
    """An adapter without a tensor library: nothing is counted, nothing can be called."""

    name = "none"
    library = Library()
