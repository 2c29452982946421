"""Contenders compared question by question: who is right where another is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from attrs import define

from vqa_engine.reporting.corpus import RIGHT, Contender


@define
class Pair:
    """Two contenders on the questions that both have a score for, by right and wrong.

    `total` is the sum of the differences of their scores, the first less the second.
    """

    first: int
    second: int
    both: int = 0
    only_first: int = 0
    only_second: int = 0
    neither: int = 0
    total: float = 0.0

    @property
    def count(self) -> int:
        """Questions that both have a score for."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float | None:
        """The mean difference in per cent points, the first less the second."""
        return 100 * self.total / self.count if self.count else None

    def add(self, first: float | None, second: float | None) -> None:
        """Take in the two scores of one question."""
        if first is None or second is None:
            return
        self.total += first - second
        if first >= RIGHT and second >= RIGHT:
            self.both += 1
        elif first >= RIGHT:
            self.only_first += 1
        elif second >= RIGHT:
            self.only_second += 1
        else:
            self.neither += 1


def pairs(contenders: Sequence[Contender], order: Iterable[int]) -> Iterator[Pair]:
    """Every two contenders by their numbers, by the headline's metric."""
    for one, other in combinations(order, 2):
        pair = Pair(one, other)
        for first, second in zip(contenders[one].scores(), contenders[other].scores(), strict=True):
            pair.add(first, second)
        yield pair
