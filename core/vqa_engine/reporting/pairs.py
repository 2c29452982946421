"""Contenders compared question by question: who is right where another is wrong."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations

from attrs import define, field

from vqa_engine.reporting.corpus import RIGHT, Corpus
from vqa_engine.scoring.comparison import Differences


@define
class Pair:
    """Two contenders on the questions that both have a score for, by right and wrong.

    `differences` are the scores of the first less those of the second.
    """

    first: int
    second: int
    both: int = 0
    only_first: int = 0
    only_second: int = 0
    neither: int = 0
    differences: Differences = field(factory=Differences)

    @property
    def count(self) -> int:
        """Questions that both have a score for."""
        return self.differences.count

    def add(self, cluster: Hashable, first: float | None, second: float | None) -> None:
        """Take in the two scores of one question."""
        if first is None or second is None:
            return
        self.differences.add(cluster, second, first)
        if first >= RIGHT and second >= RIGHT:
            self.both += 1
        elif first >= RIGHT:
            self.only_first += 1
        elif second >= RIGHT:
            self.only_second += 1
        else:
            self.neither += 1


def pairs(corpus: Corpus, order: Iterable[int]) -> Iterator[Pair]:
    """Every two contenders by their numbers, by the headline's metric."""
    scores = [one.scores() for one in corpus.contenders]
    for one, other in combinations(order, 2):
        pair = Pair(one, other)
        for asked in zip(corpus.clusters.codes, scores[one], scores[other], strict=True):
            pair.add(*asked)
        yield pair
