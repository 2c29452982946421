"""The governor: binds the strategies an adapter declares, and applies them.

It lives beside the model, in whatever process that is.
"""

from __future__ import annotations

from time import perf_counter

from attrs import evolve

from vqa_engine.adapter import GenerationPlan, MemoryProfile, MemoryReading
from vqa_engine.errors import BackendError
from vqa_engine.memory.backends import MemoryBackend, backend, collect
from vqa_engine.memory.strategies import CacheLimit, CleanupStrategy, PrefillStep
from vqa_engine.results import MemoryEvent


class Governor:
    """Keeps one model's memory in bounds.

    `floor` is what the backend held before the model was loaded; `release` must come
    back to it.
    """

    def __init__(self, profile: MemoryProfile) -> None:
        self.backend: MemoryBackend = backend(profile.backend)
        self.floor = self.backend.read().active
        self._prefill_step: int | None = None

    def bind(self, profile: MemoryProfile) -> tuple[MemoryEvent, ...]:
        """Bind each strategy, in order; called once the model is loaded.

        Raises:
            BackendError: naming the call that a strategy needs and the backend lacks.
        """
        return tuple(self._bind(strategy) for strategy in profile.strategies)

    def plan(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan as the standing bounds allow it."""
        self.backend.reset_peak()
        if self._prefill_step is None or plan.prefill_step is not None:
            return plan
        return evolve(plan, prefill_step=self._prefill_step)

    def read(self) -> MemoryReading:
        """The counters now."""
        return self.backend.read()

    def settle(self) -> tuple[int | None, tuple[MemoryEvent, ...]]:
        """After release: bytes still above the floor, and what was done about them."""
        events = []
        for call, act in (("gc.collect", collect), ("clear_cache", self.backend.clear_cache)):
            if self._residue() == 0 and call != "clear_cache":
                continue
            events.append(self._timed("release", call, act))
        return self._residue(), tuple(events)

    def _bind(self, strategy: CleanupStrategy) -> MemoryEvent:
        match strategy:
            case CacheLimit(limit):
                return self._timed(
                    "cache limit",
                    f"set_cache_limit({limit})",
                    lambda: self.backend.set_cache_limit(limit),
                )
            case PrefillStep(tokens):
                self._prefill_step = tokens
                return MemoryEvent(strategy="prefill step", call=f"plan.prefill_step={tokens}")
            case _:
                raise BackendError(
                    type(strategy).__name__, "this version of vqa-engine cannot apply it"
                )

    def _timed(self, strategy: str, call: str, act: object) -> MemoryEvent:
        assert callable(act)
        before, started = self._held(), perf_counter()
        act()
        seconds = perf_counter() - started
        return MemoryEvent(
            strategy=strategy, call=call, freed=before - self._held(), seconds=seconds
        )

    def _held(self) -> int:
        reading = self.backend.read()
        return (reading.active or 0) + (reading.cache or 0)

    def _residue(self) -> int | None:
        active = self.backend.read().active
        if active is None or self.floor is None:
            return None
        return max(0, active - self.floor)
