"""The figures of one aggregate: a tally for each cluster, of one set of answers or of two."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from typing import Protocol

from attrs import define, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.aggregate import Aggregate, Counts, Tally
from vqa_engine.scoring.metric import Grade
from vqa_engine.scoring.statistics import UNKNOWN, bootstrap, summed


@frozen
class Figure:
    """A figure beyond the mean, as it is printed, with its 95 % interval.

    The interval is nan where there is none: of what describes the set, or of one image.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


class Figures(Protocol):
    """Collects what one aggregate needs; its code may be in another process."""

    @property
    @abstractmethod
    def compared(self) -> bool:
        """As `Aggregate.compared`."""

    @abstractmethod
    def add(self, question: Question, *grades: Grade) -> None:
        """Add a question with its grade, or with its grades in both sets of answers."""

    @abstractmethod
    def snapshot(self) -> dict[str, Figure]:
        """The figures so far, or their differences."""


@define
class _Tallied:
    """A base: one tally, or two, for each cluster."""

    _aggregate: Aggregate
    _tallies: dict[Hashable, tuple[Tally, ...]] = field(factory=dict)

    @property
    def compared(self) -> bool:
        return self._aggregate.compared

    def add(self, question: Question, *grades: Grade) -> None:
        cluster = self._aggregate.cluster(question)
        tallies = self._tallies.setdefault(cluster, tuple({} for _ in grades))
        for tally, grade in zip(tallies, grades, strict=True):
            self._aggregate.add(tally, question, grade)


@define
class SetFigures(_Tallied):
    """The figures of one set of answers."""

    def snapshot(self) -> dict[str, Figure]:
        """As `Figures.snapshot`."""
        aggregate = self._aggregate
        clusters = [aggregate.counts(tally) for (tally,) in self._tallies.values()]
        values = aggregate.figures(summed(clusters))
        found = bootstrap(clusters, aggregate.figures) if aggregate.compared else {}
        return {name: Figure(value, *found.get(name, UNKNOWN)) for name, value in values.items()}


@define
class PairedFigures(_Tallied):
    """What changes from one set of answers to another."""

    def snapshot(self) -> dict[str, Figure]:
        """As `Figures.snapshot`."""
        clusters = [self._counts(*tallies) for tallies in self._tallies.values()]
        found = bootstrap(clusters, self._differences)
        differences = self._differences(summed(clusters))
        return {
            name: Figure(value, *found.get(name, UNKNOWN)) for name, value in differences.items()
        }

    def _counts(self, first: Tally, second: Tally) -> Counts:
        """The counts of both, under names that keep them apart."""
        before, after = self._aggregate.counts(first), self._aggregate.counts(second)
        named = {f"1 {name}": amount for name, amount in before.items()}
        return named | {f"2 {name}": amount for name, amount in after.items()}

    def _differences(self, counts: Counts) -> dict[str, float]:
        before, after = (self._aggregate.figures(_part(counts, which)) for which in "12")
        return {name: after[name] - before[name] for name in before if name in after}


def _part(counts: Counts, which: str) -> dict[str, float]:
    return {name[2:]: amount for name, amount in counts.items() if name[0] == which}
