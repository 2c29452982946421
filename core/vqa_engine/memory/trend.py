"""Slopes that a few wild points cannot move, over series of bounded length."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

POINTS = 64
"""Points kept of a series; 2,016 pairs take about half a millisecond, and are looked at
only when a verdict is asked for."""


def theil_sen(points: Sequence[tuple[float, float]]) -> float | None:
    """The median slope over all pairs, None with fewer than two distinct abscissae.

    Up to 29 % of the points may be arbitrary without moving it (Sen, 1968).
    """
    slopes = [
        (y2 - y1) / (x2 - x1)
        for index, (x1, y1) in enumerate(points)
        for x2, y2 in points[index + 1 :]
        if x2 != x1
    ]
    return median(slopes) if slopes else None


def rising(values: Sequence[float]) -> float:
    """Kendall's share of pairs in rising order less those in falling order, −1 to 1."""
    pairs = [b - a for index, a in enumerate(values) for b in values[index + 1 :]]
    if not pairs:
        return 0.0
    return (sum(one > 0 for one in pairs) - sum(one < 0 for one in pairs)) / len(pairs)


class Series:
    """A series of any length in bounded memory: `POINTS` blocks, each its least value.

    When full, neighbours merge and blocks double. The least value is what matters of a
    floor: whatever a cache holds for a while does not count, whatever never comes back
    does.
    """

    def __init__(self) -> None:
        self.block = 1
        self._blocks: list[tuple[float, float]] = []
        self._filled = 0

    def add(self, at: float, value: float) -> None:
        """One more value; `at` is its abscissa, and rises."""
        if self._filled == 0:
            self._blocks.append((at, value))
        elif value < self._blocks[-1][1]:
            self._blocks[-1] = (self._blocks[-1][0], value)
        self._filled = (self._filled + 1) % self.block
        if self._filled == 0 and len(self._blocks) == POINTS:
            self._halve()

    def points(self) -> list[tuple[float, float]]:
        """(abscissa of the block's first value, its least value); full blocks only."""
        return self._blocks[:] if self._filled == 0 else self._blocks[:-1]

    def _halve(self) -> None:
        pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
        self._blocks = [(a[0], min(a[1], b[1])) for a, b in pairs]
        self.block *= 2
