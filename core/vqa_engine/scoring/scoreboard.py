"""`Scoreboard`: scores added one by one, in constant memory, into a `ScoreTable`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import define, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.metric import Metric

_Z = 1.959963984540054
"""The normal quantile of 0.975: an interval with it covers 95 %."""


@frozen
class Score:
    """A mean in per cent with its 95 % interval.

    `count` is the number of scored answers. With none, `percent` is nan and the interval
    is 0..100: nothing is known.
    """

    percent: float
    low: float
    high: float
    count: int


@frozen(kw_only=True)
class ScoreTable:
    """The scores of one metric.

    `errors` are questions that got no answer and `unscored` answers to questions without
    ground truths; neither has a part in any score. A question without a type is missing
    from that breakdown.
    """

    metric: str
    overall: Score
    by_question_type: Mapping[str, Score]
    by_answer_type: Mapping[str, Score]
    errors: int = 0
    unscored: int = 0


@define
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, score: float) -> None:
        self.total += score
        self.count += 1

    def score(self, decimals: int | None) -> Score:
        if not self.count:
            return Score(math.nan, 0.0, 100.0, 0)
        low, high = wilson(min(1.0, self.total / self.count), self.count)
        # in the official code's order of operations, so that it rounds to the same figure
        figures = (100 * self.total / self.count, 100 * low, 100 * high)
        if decimals is None:
            return Score(*figures, self.count)
        percent, low, high = (round(figure, decimals) for figure in figures)
        return Score(percent, low, high, self.count)


@define
class Scoreboard:
    """Collects scores of one metric; its memory grows with the number of types alone."""

    metric: Metric
    _overall: _Mean = field(factory=_Mean, init=False)
    _question_types: dict[str, _Mean] = field(factory=dict, init=False)
    _answer_types: dict[str, _Mean] = field(factory=dict, init=False)
    _errors: int = field(default=0, init=False)
    _unscored: int = field(default=0, init=False)

    def add(self, prediction: str, question: Question) -> None:
        """Score one answer; without ground truths it is counted as unscored."""
        if not question.answers:
            self._unscored += 1
            return
        score = self.metric.score(prediction, question.answers)
        self._overall.add(score)
        _add(self._question_types, question.question_type, score)
        _add(self._answer_types, question.answer_type, score)

    def add_error(self, question: Question) -> None:
        """Count a question that got no answer. It is not scored."""
        self._errors += 1

    def snapshot(self) -> ScoreTable:
        """The table so far; adding may go on after it."""
        decimals = self.metric.decimals
        return ScoreTable(
            metric=self.metric.name,
            overall=self._overall.score(decimals),
            by_question_type=_scores(self._question_types, decimals),
            by_answer_type=_scores(self._answer_types, decimals),
            errors=self._errors,
            unscored=self._unscored,
        )


def wilson(mean: float, count: int) -> tuple[float, float]:
    """The 95 % Wilson score interval around `mean` (0..1) of `count` > 0 scores, in 0..1.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927). It is made for proportions; with the mean of graded scores in its place it is
    conservative, because no variable in [0, 1] varies more than a yes-or-no of equal mean.
    """
    shrink = 1 + _Z**2 / count
    centre = (mean + _Z**2 / (2 * count)) / shrink
    variance = mean * (1 - mean) / count + _Z**2 / (4 * count**2)
    half = _Z * math.sqrt(variance) / shrink
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def _add(means: dict[str, _Mean], kind: str | None, score: float) -> None:
    if kind is not None:
        means.setdefault(kind, _Mean()).add(score)


def _scores(means: Mapping[str, _Mean], decimals: int | None) -> dict[str, Score]:
    return {kind: means[kind].score(decimals) for kind in sorted(means)}
