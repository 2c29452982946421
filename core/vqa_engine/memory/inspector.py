"""The inspector: on a floor that rises, finds out why."""

from __future__ import annotations

import logging

from vqa_engine.adapter import CacheHolder, ModelAdapter
from vqa_engine.adapter.crossing import called
from vqa_engine.memory.audit import Audit
from vqa_engine.memory.budget import shown
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.holders import holders
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import LeakVerdict

log = logging.getLogger(__name__)

_SUSPICIOUS = 3
"""New highest floors before cycles are collected and holders looked for; then again at
twice as many, and so on. A first rise or two is what every model does as it warms up."""

_CYCLES_EVERY = 16
"""Questions between two collections once cycles were found to hold arrays."""


class Inspector:
    """Feeds the audit after each question, and acts on what it sees.

    What an adapter keeps on purpose (`CacheHolder`) is not part of the floor.
    """

    def __init__(
        self, audit: Audit, controls: MemoryControls, adapter: ModelAdapter | None
    ) -> None:
        self._audit, self._controls = audit, controls
        self._cached = adapter.cached_bytes if isinstance(adapter, CacheHolder) else None
        self._next, self._due = _SUSPICIOUS, 0
        self._named = False
        self._base = (controls.backend.read().active or 0) - self._kept()

    def check(self, number: int, active: int) -> int:
        """Note the floor after a question; the bytes by which it rose since load."""
        floor = active - self._kept()
        rose = self._audit.floor(number, floor)
        if rose and self._audit.streak >= self._next:
            self._next = self._audit.streak * 2
            floor, self._due = self._inspect(floor), number + _CYCLES_EVERY
        elif self._audit.cycles and number >= self._due:
            floor, self._due = self._collect(floor), number + _CYCLES_EVERY
        return max(0, floor - self._base)

    def _kept(self) -> int:
        if self._cached is None:
            return 0
        try:
            return int(called(self._cached))
        except Exception as error:
            log.exception("cached_bytes failed; what the adapter keeps counts as growth")
            self._cached = None
            self._controls.note("set aside", "cached_bytes", reason(error))
            return 0

    def _inspect(self, floor: int) -> int:
        left = self._collect(floor)
        if left < floor:
            return left
        verdict = self._audit.verdict()
        if verdict.leaks or not self._named:
            self._controls.note("audit", "gc.get_referrers", self._report(verdict))
        return floor

    def _collect(self, floor: int) -> int:
        """Whether cycles held it: then a collection gives it back."""
        freed = self._controls.act("audit", "gc.collect")
        if freed > 0:
            self._audit.gave_back(freed, floor - freed)
        return floor - max(0, freed)

    def _report(self, verdict: LeakVerdict) -> str:
        self._named = True
        kind = self._controls.backend.array
        found = holders(kind) if kind is not None else ()
        named = ", ".join(f"{owner} ({count})" for owner, count in found[:5]) or "no Python object"
        rise = verdict.text if verdict.leaks else f"{self._audit.streak} new highest floors"
        return f"{rise}; {shown(self._audit.rise)} in all; new arrays are held by {named}"
