"""The audit: did memory come back? To the byte for the allocator, by slope for the rest."""

from __future__ import annotations

from vqa_engine.memory.budget import shown
from vqa_engine.memory.trend import Series, rising, theil_sen
from vqa_engine.results import LeakVerdict

ENOUGH = 8
"""Blocks needed for a verdict."""

_SURE = 0.9
"""Kendall's measure from which growth counts as one-directional."""

_WANDER = 8 << 20
"""Bytes by which a healthy process wanders outside the allocator: 5.6 MiB were measured
(docs/facts/memory.md, "No leak in the core path"), the next power of two is allowed."""


class Audit:
    """Floors of one loaded model, question by question, in bounded memory."""

    def __init__(self) -> None:
        self.cycles = 0
        self.streak = 0
        self.first: int | None = None
        self._highest = 0
        self._floors = Series()
        self._outside: list[tuple[float, float]] = []

    @property
    def rise(self) -> int:
        """Bytes between the first floor and the highest."""
        return self._highest - (self.first or 0) if self.first is not None else 0

    def floor(self, number: int, active: int) -> bool:
        """Note what stayed after question `number`; whether it is more than ever before."""
        self._floors.add(number, active)
        if self.first is None:
            self.first = self._highest = active
            return False
        if active <= self._highest:
            return False
        self._highest = active
        self.streak += 1
        return True

    def outside(self, number: int, size: int) -> None:
        """Note the bytes of the process outside the allocator, after question `number`."""
        self._outside.append((float(number), float(size)))
        if len(self._outside) > 64:
            # Every other point, so that the whole run stays in view.
            self._outside = self._outside[::2]

    def gave_back(self, freed: int, active: int) -> None:
        """Note that a collection of reference cycles freed live arrays."""
        self.cycles += freed
        self._highest = max(active, self.first or 0)

    @property
    def slope(self) -> float | None:
        """Bytes per question outside the allocator, over the later half; None if unknown."""
        tail = self._outside[len(self._outside) // 2 :]
        return theil_sen(tail) if len(tail) >= ENOUGH // 2 else None

    def verdict(self) -> LeakVerdict:
        """The verdict so far; it takes about a millisecond."""
        if self.cycles:
            return LeakVerdict(kind="cycles", grown=self.cycles, text=_cycles(self.cycles))
        inner = self._inner()
        if inner.kind == "leak":
            return inner
        return self._outer() or inner

    def _inner(self) -> LeakVerdict:
        if self.first is None:
            text = "nothing counts the model's arrays, and the process shows no clear growth"
            return LeakVerdict(kind="unknown", text=text)
        points = self._floors.points()
        if len(points) < ENOUGH:
            return LeakVerdict(kind="unknown", text="too few questions for a verdict")
        values = [value for _, value in points]
        grown, tail = int(values[-1] - values[0]), points[len(points) // 2 :]
        if tail[-1][1] > tail[0][1] and rising([value for _, value in tail]) >= _SURE:
            rate = theil_sen(tail) or 0.0
            return LeakVerdict(
                kind="leak",
                rate=rate,
                grown=grown,
                text=f"the floor rises by {rate:.0f} bytes per question",
            )
        if grown > 0 and max(values) > values[0]:
            return LeakVerdict(
                kind="warm-up", grown=grown, text=f"grew by {shown(grown)}, then stayed"
            )
        return LeakVerdict(
            kind="steady", grown=grown, text="memory returned to its baseline after every question"
        )

    def _outer(self) -> LeakVerdict | None:
        slope = self.slope
        if slope is None or len(self._outside) < ENOUGH * 2:
            return None
        tail = self._outside[len(self._outside) // 2 :]
        grown = int(slope * (tail[-1][0] - tail[0][0]))
        if grown <= _WANDER or rising([value for _, value in tail]) < _SURE:
            return None
        text = f"the process grows by {slope:.0f} bytes per question outside the allocator"
        return LeakVerdict(kind="outside", rate=slope, grown=grown, text=text)


def judge(floors: list[int]) -> LeakVerdict:
    """The verdict over floors that were recorded earlier, as in a journal."""
    audit = Audit()
    for number, active in enumerate(floors):
        audit.floor(number, active)
    return audit.verdict()


def _cycles(freed: int) -> str:
    return f"arrays were held in reference cycles ({shown(freed)}); gc.collect gives them back"
