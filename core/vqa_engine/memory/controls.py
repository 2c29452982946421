"""What a strategy may see and do: calls by name, timed, and each of them recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter

from vqa_engine.adapter import CacheHolder, MemoryProfile, ModelAdapter
from vqa_engine.errors import BackendError
from vqa_engine.memory.backend import Call, MemoryBackend
from vqa_engine.memory.gauges import process_gauge
from vqa_engine.results import MemoryEvent


class MemoryControls:
    """One loaded model's memory calls.

    `budget` is what the backend may hold, None when nobody knows; `largest` the most
    that one question has needed above the floor so far; `cache_limit` the standing
    bound of the pool, if one was set; `recycle` why a fresh process was asked for.
    """

    def __init__(
        self,
        backend: MemoryBackend,
        profile: MemoryProfile,
        adapter: ModelAdapter | None = None,
    ) -> None:
        self.backend, self.profile = backend, profile
        self.budget: int | None = None
        self.largest = 0
        self.cache_limit: int | None = None
        self.recycle = ""
        self._events: list[MemoryEvent] = []
        self._calls = {**backend.calls, "gc.collect": gc.collect}
        if isinstance(adapter, CacheHolder):
            self._calls["drop_caches"] = adapter.drop_caches

    def call(self, name: str) -> Call:
        """The call of this name.

        `clear_cache` and `gc.collect` clean; `drop_caches` is the adapter's own;
        `read active` and `footprint` read.

        Raises:
            BackendError: it does not exist here; the error names it.
        """
        found = self._calls.get(name) or self._reader(name)
        if found is None:
            raise BackendError(
                name,
                f"a strategy needs it, and the backend {self.backend.name!r} does not have it here",
                "Remove the strategy from the adapter's memory profile",
            )
        return found

    def has(self, name: str) -> bool:
        """Whether the cleanup call of this name exists here."""
        return name in self._calls

    def act(self, strategy: str, name: str, detail: str = "") -> int:
        """Make a call, record it, and say how many bytes it gave back."""
        call = self.call(name)
        before, started = self.backend.read(), perf_counter()
        call()
        seconds, after = perf_counter() - started, self.backend.read()
        active = (before.active or 0) - (after.active or 0)
        # What a collection frees goes to the pool first, so both differences are looked at.
        freed = max(active, active + (before.cache or 0) - (after.cache or 0))
        self._events.append(
            MemoryEvent(strategy=strategy, call=name, freed=freed, seconds=seconds, detail=detail)
        )
        return freed

    def note(self, strategy: str, call: str, detail: str = "") -> None:
        """Record something that was done without a backend call."""
        self._events.append(MemoryEvent(strategy=strategy, call=call, detail=detail))

    def limit_cache(self, strategy: str, limit: int) -> Callable[[], None]:
        """Bound the pool, and return what puts the earlier bound back.

        Raises:
            BackendError: this backend has no such bound.
        """
        previous = self.backend.set_cache_limit(limit)
        self.cache_limit = limit
        self.note(strategy, f"set_cache_limit({limit})")
        return lambda: _restore(self.backend, previous)

    def held(self) -> int:
        """Live buffers and pool now."""
        return self.backend.read_held()

    def outside(self) -> int | None:
        """What lies outside the allocator now, None where the process cannot be read."""
        process = process_gauge().read()[1].bytes
        return None if process is None else self.backend.outside(process)

    def ask_recycle(self, strategy: str, reason: str) -> None:
        """Ask for the model to be loaded afresh before the next question; once is enough."""
        if not self.recycle:
            self.recycle = reason
            self.note(strategy, "recycle", reason)

    @property
    def backend_name(self) -> str:
        """The backend's entry-point name."""
        return self.backend.name

    @property
    def weights(self) -> int:
        """Bytes of the model's weights, 0 if nobody knows."""
        return self.profile.weights or 0

    @property
    def pending(self) -> bool:
        """Whether there is anything to report: events, or a request."""
        return bool(self._events or self.recycle)

    def drain(self) -> tuple[MemoryEvent, ...]:
        """The events since the last drain."""
        if not self._events:
            return ()
        events, self._events = tuple(self._events), []
        return events

    def _reader(self, name: str) -> Call | None:
        if name == "read active" and self.backend.read().active is not None:
            return self.backend.read
        if name == "footprint" and process_gauge().read()[0].value is not None:
            return process_gauge().read
        return None


def _restore(backend: MemoryBackend, limit: int) -> None:
    backend.set_cache_limit(limit)
