"""Figures of a whole set beyond the mean, such as F1: an aggregate computes them from counts.

An aggregate keeps a tally, a plain dict, of each cluster (the questions about one image),
turns it into counts that add up over clusters, and computes its figures from their sum.
So a set is scored in one pass with one small dict an image, and intervals come from
drawing clusters again (`vqa_engine.scoring.statistics.bootstrap`).

Other packages add aggregates by an entry point in the group `vqa_engine.aggregates`. Its
object is a class or factory; what follows a colon in the aggregate's name (`macro:subject`)
is its argument.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.cluster import cluster_of
from vqa_engine.scoring.metric import Grade

Tally = dict[Any, Any]
Counts = Mapping[str, float]


@runtime_checkable
class Aggregate(Protocol):
    """Figures that are not a mean of grades."""

    @property
    @abstractmethod
    def compared(self) -> bool:
        """Whether the figures are scores, with an interval and compared between runs.

        Otherwise they describe the set or the answers.
        """

    @abstractmethod
    def cluster(self, question: Question) -> Hashable:
        """What the question shares with those that are not independent of it."""

    @abstractmethod
    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """Add one graded question to the tally of its cluster, which begins empty."""

    @abstractmethod
    def counts(self, tally: Tally) -> Counts:
        """A cluster's counts; those of all clusters are summed."""

    @abstractmethod
    def figures(self, counts: Counts) -> dict[str, float]:
        """The figures by name, as they are printed; a missing count is zero."""


@frozen
class Sums:
    """A base for aggregates: clusters are images, and a tally holds the counts themselves."""

    compared = True

    def cluster(self, question: Question) -> Hashable:
        """As `Aggregate.cluster`."""
        return cluster_of(question)

    def counts(self, tally: Tally) -> Counts:
        """As `Aggregate.counts`."""
        return tally


@frozen
class Macro(Sums):
    """The mean over the values of a label of the mean score of each, in per cent."""

    label: str

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`; a question without the label has no part."""
        value = label_of(question, self.label)
        if value is not None:
            count(tally, f"score {value}", grade.value)
            count(tally, f"count {value}")

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        means = [100 * mean for mean in _means(counts).values()]
        return {f"mean over {self.label}": sum(means) / len(means)} if means else {}


@frozen
class By(Macro):
    """The mean score, in per cent, for each value of a label."""

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        return {f"{self.label} {value}": 100 * mean for value, mean in _means(counts).items()}


@frozen
class Points(Sums):
    """How many points the answers earned: OCRBench's score."""

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`."""
        count(tally, "points", grade.value)

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        return {"points": counts.get("points", 0.0)}


def count(tally: Tally, name: str, amount: float = 1.0) -> None:
    """Add to one count of a tally."""
    tally[name] = tally.get(name, 0.0) + amount


def label_of(question: Question, name: str) -> str | None:
    """A label, or the question's type where that is asked for by its field's name."""
    if name in question.labels:
        return question.labels[name]
    return {"question_type": question.question_type, "answer_type": question.answer_type}.get(name)


def ratio(part: float, whole: float) -> float | None:
    """The part in per cent; None of nothing."""
    return 100 * part / whole if whole else None


def known(figures: Mapping[str, float | None]) -> dict[str, float]:
    """The figures that have a value."""
    return {name: value for name, value in figures.items() if value is not None}


def _means(counts: Counts) -> dict[str, float]:
    parts: dict[str, dict[str, float]] = defaultdict(dict)
    for name, amount in counts.items():
        kind, _, value = name.partition(" ")
        parts[value][kind] = amount
    return {
        value: part.get("score", 0.0) / part["count"]
        for value, part in sorted(parts.items())
        if part.get("count")
    }
