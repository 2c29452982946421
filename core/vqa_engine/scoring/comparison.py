"""Two sets of answers to the same questions: what differs, and whether that is more than chance.

Differences are the second less the first, question by question, so that what makes a
question hard for both cancels out (Miller, arXiv 2411.00640, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping

from attrs import define, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import PluginError, ScoringError, VqaEngineError
from vqa_engine.plugins.entry_points import reason
from vqa_engine.scoring.cluster import cluster_of
from vqa_engine.scoring.figures import Figure, Figures
from vqa_engine.scoring.metric import Grade, Metric, checked, together
from vqa_engine.scoring.registry import figures
from vqa_engine.scoring.statistics import (
    POWER,
    Moments,
    mcnemar,
    t_quantile,
)

Answered = tuple[Question, str | None]
"""A question and its answer, None for none."""


@frozen(kw_only=True)
class Comparison:
    """What a second model changes, over the `count` questions that both answered.

    `first_percent`, `second_percent` and `difference` are means and their difference, in per
    cent and percentage points, with the 95 % interval clustered by image. `smallest` is the
    smallest difference that these questions can show: with 95 % confidence, in four
    experiments of five; they can show none where it is more than 100. `better` and `worse`
    count the questions with a higher and a lower score; where every score is 0 or 1 these are
    questions fixed and broken, and `p_value` is that of McNemar's exact test, else None.
    `figures` are the differences of the metric's other figures. `unpaired` questions were
    scored for one of the two only.
    """

    first: str
    second: str
    metric: str
    version: int
    first_percent: float
    second_percent: float
    difference: Figure
    smallest: float
    count: int
    clusters: int
    better: int
    worse: int
    p_value: float | None
    figures: Mapping[str, Figure]
    unpaired: int = 0


def compare(
    first: tuple[str, Iterable[Answered]], second: tuple[str, Iterable[Answered]], metric: Metric
) -> Comparison:
    """Compare two models, each a name and its answers.

    Raises:
        ScoringError: the metric fails, or no question is scored for both.
    """
    try:
        return _compared(first, second, metric)
    except Exception as error:
        if isinstance(error, VqaEngineError) and not isinstance(error, PluginError):
            raise
        raise ScoringError(f"The metric {metric.name!r} failed: {reason(error)}.") from error


def _compared(
    first: tuple[str, Iterable[Answered]], second: tuple[str, Iterable[Answered]], metric: Metric
) -> Comparison:
    known = {question.question_id: grade for question, grade in _grades(first[1], metric)}
    pairs = _Pairs(metric)
    unpaired = 0
    for question, grade in _grades(second[1], metric):
        before = known.pop(question.question_id, None)
        if before is None:
            unpaired += 1
        else:
            pairs.add(question, before, grade)
    if not pairs.count:
        raise ScoringError(
            f"{first[0]} and {second[0]} have no question in common that {metric.name} can score."
        )
    return pairs.comparison(first[0], second[0], unpaired + len(known))


def _grades(answers: Iterable[Answered], metric: Metric) -> Iterator[tuple[Question, Grade]]:
    for question, text in together(answers, [metric], _asked):
        if text is None:
            continue
        try:
            yield question, checked(metric.grade(text, question))
        except ScoringError:
            continue  # nothing to compare with
        except Exception as error:
            raise ScoringError(
                f"The metric {metric.name!r} failed on question {question.question_id!r}: "
                f"{reason(error)}."
            ) from error


def _asked(answered: Answered) -> tuple[str, Question] | None:
    question, text = answered
    return None if text is None else (text, question)


@define
class Differences:
    """The differences of two scores of each question, the second less the first, by cluster.

    `better` and `worse` count the questions with a higher and a lower second score.
    """

    better: int = field(default=0, init=False)
    worse: int = field(default=0, init=False)
    _moments: Moments = field(factory=Moments, init=False)
    _sums: dict[Hashable, tuple[float, int]] = field(factory=dict, init=False)
    _binary: bool = field(default=True, init=False)

    def add(self, cluster: Hashable, before: float, after: float) -> None:
        """Take in the two scores, in 0..1, of one question."""
        change = after - before
        total, count = self._sums.get(cluster, (0.0, 0))
        self._moments.add(change, total, count)
        self._sums[cluster] = total + change, count + 1
        self.better += change > 0
        self.worse += change < 0
        self._binary = self._binary and {before, after} <= {0, 1}

    @property
    def count(self) -> int:
        """How many questions there are."""
        return self._moments.count

    @property
    def clusters(self) -> int:
        """How many clusters they are in."""
        return self._moments.clusters

    @property
    def p_value(self) -> float | None:
        """That of McNemar's exact test; None where a score is neither 0 nor 1."""
        return mcnemar(self.better, self.worse) if self._binary else None

    @property
    def smallest(self) -> float:
        """The smallest difference that four experiments of five would find, in points.

        Where it is more than 100 there is none; nan of a single cluster.
        """
        return (self._quantile + POWER) * self._error

    def figure(self) -> Figure:
        """The mean difference with its interval, in points."""
        mean, half = 100 * self._moments.mean, self._quantile * self._error
        if math.isnan(half):
            return Figure(mean)
        return Figure(mean, max(-100.0, mean - half), min(100.0, mean + half))

    @property
    def _error(self) -> float:
        """The standard error, in points: at least that of a set in which one question differs."""
        error = 100 * self._moments.standard_error()
        return error if math.isnan(error) else max(error, 100 / self.count)

    @property
    def _quantile(self) -> float:
        return t_quantile(self.clusters - 1) if self.clusters > 1 else math.nan


@define
class _Pairs:
    """Both grades of each question, summed by cluster."""

    metric: Metric
    _totals: tuple[float, float] = (0.0, 0.0)
    _differences: Differences = field(factory=Differences)
    _figures: tuple[Figures, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        made = (figures(name, paired=True, default=True) for name in self.metric.aggregates)
        self._figures = tuple(one for one in made if one.compared)

    @property
    def count(self) -> int:
        return self._differences.count

    def add(self, question: Question, before: Grade, after: Grade) -> None:
        self._differences.add(cluster_of(question), before.value, after.value)
        self._totals = self._totals[0] + before.value, self._totals[1] + after.value
        for one in self._figures:
            one.add(question, before, after)

    def comparison(self, first: str, second: str, unpaired: int) -> Comparison:
        differences = self._differences
        return Comparison(
            first=first,
            second=second,
            metric=self.metric.name,
            version=self.metric.version,
            first_percent=100 * self._totals[0] / self.count,
            second_percent=100 * self._totals[1] / self.count,
            difference=differences.figure(),
            smallest=differences.smallest,
            count=self.count,
            clusters=differences.clusters,
            better=differences.better,
            worse=differences.worse,
            p_value=differences.p_value,
            figures={
                name: figure for one in self._figures for name, figure in one.snapshot().items()
            },
            unpaired=unpaired,
        )
