"""`Scoreboard`: answers graded one by one into a `ScoreTable`; it keeps one entry an image."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Mapping

from attrs import define, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.plugins.entry_points import reason
from vqa_engine.scoring.calibration import Calibration, Reliability
from vqa_engine.scoring.cluster import cluster_of
from vqa_engine.scoring.figures import Figure, Figures
from vqa_engine.scoring.metric import Grade, Metric, checked
from vqa_engine.scoring.registry import figures
from vqa_engine.scoring.statistics import Moments


@frozen
class Score:
    """A mean in per cent with its 95 % interval, clustered by image.

    `count` is the number of scored answers and `clusters` that of their images.
    `standard_error` is in percentage points, nan for a single image. With no answers
    `percent` is nan and the interval is 0..100: nothing is known.
    """

    percent: float
    low: float
    high: float
    count: int
    clusters: int = 0
    standard_error: float = math.nan


@frozen(kw_only=True)
class ScoreTable:
    """The scores of one metric.

    `figures` are what its aggregates give, by name. `errors` are questions that got no
    answer and `unscored` answers to questions with nothing to compare with; neither has a
    part in any score. `unparsed` and `ambiguous` count scored answers that the metric could
    not understand, and `credited` those of them that it credits all the same. A question
    without a type is missing from that breakdown. `failure` says why a metric has no scores.
    `calibration` is that of the answers that have a probability, None without any.
    """

    metric: str
    version: int
    overall: Score
    by_question_type: Mapping[str, Score]
    by_answer_type: Mapping[str, Score]
    figures: Mapping[str, Figure] = field(factory=dict)
    errors: int = 0
    unscored: int = 0
    unparsed: int = 0
    ambiguous: int = 0
    credited: int = 0
    failure: str = ""
    calibration: Calibration | None = None


_Kind = tuple[str, str | None]
_OVERALL: _Kind = ("overall", "all")
_FIELDS = 3
"""Numbers that a cluster keeps of each kind: which one, its total, its count."""


@define
class _Means:
    """Moments of each kind of question, with the running sums of every cluster.

    A cluster's sums are in one flat array: 214,354 questions of VQA v2 need some 10 MB so.
    """

    _kinds: dict[_Kind, tuple[int, Moments]] = field(factory=dict)
    _clusters: dict[Hashable, array[float]] = field(factory=dict)

    def add(self, cluster: Hashable, kinds: Iterable[_Kind], score: float) -> None:
        sums = self._clusters.get(cluster)
        if sums is None:
            sums = self._clusters[cluster] = array("d")
        for kind in kinds:
            known = self._kinds.get(kind)
            if known is None:
                known = self._kinds[kind] = len(self._kinds), Moments()
            number, moments = known
            place = self._place(sums, number)
            moments.add(score, sums[place + 1], int(sums[place + 2]))
            sums[place + 1] += score
            sums[place + 2] += 1

    @property
    def moments(self) -> dict[_Kind, Moments]:
        """The moments of each kind."""
        return {kind: moments for kind, (_, moments) in self._kinds.items()}

    def _place(self, sums: array[float], number: int) -> int:
        """Where a cluster keeps its sums of a kind, made if need be."""
        for place in range(0, len(sums), _FIELDS):
            if sums[place] == number:
                return place
        sums.extend((number, 0.0, 0.0))
        return len(sums) - _FIELDS


@define
class Scoreboard:
    """Collects the grades of one metric, one entry an image and type.

    A metric that raises, or gives anything but a score in 0..1, costs its own table: the
    board says why in `failure`, and ignores further answers.
    """

    metric: Metric
    failure: str = field(default="", init=False)
    _means: _Means = field(factory=_Means, init=False)
    _figures: tuple[Figures, ...] = field(init=False)
    _errors: int = field(default=0, init=False)
    _unscored: int = field(default=0, init=False)
    _unparsed: int = field(default=0, init=False)
    _ambiguous: int = field(default=0, init=False)
    _credited: int = field(default=0, init=False)
    _reliability: Reliability = field(factory=Reliability, init=False)

    def __attrs_post_init__(self) -> None:
        # Those that were asked for by name were found when the metric was made.
        found = (figures(name, default=True) for name in self.metric.aggregates)
        self._figures = tuple(found)

    def add(
        self, prediction: str, question: Question, probability: float | None = None
    ) -> Grade | None:
        """Grade one answer, which may have a probability (0..1); None where there is no grade.

        With nothing to compare with it is counted as unscored.
        """
        if self.failure:
            return None
        try:
            grade = checked(self.metric.grade(prediction, question))
            for one in self._figures:
                one.add(question, grade)
        except ScoringError:
            self._unscored += 1
            return None
        except Exception as error:  # noqa: BLE001  another package's code raises anything
            self.failure = f"question {question.question_id!r}: {reason(error)}"
            return None
        self._count(question, grade)
        if probability is not None and 0 <= probability <= 1:  # a journal may hold anything
            self._reliability.add(probability, grade.value)
        return grade

    def add_error(self, question: Question) -> None:
        """Count a question that got no answer. It is not scored."""
        self._errors += 1

    def withdraw_error(self) -> None:
        """Count one less: the question was asked again."""
        self._errors -= 1

    @property
    def overall(self) -> Score:
        """The mean so far; cheap, unlike a snapshot, which computes the other figures."""
        moments = None if self.failure else self._means.moments.get(_OVERALL)
        return score_of(moments, self.metric.decimals)

    def snapshot(self) -> ScoreTable:
        """The table so far; adding may go on after it."""
        decimals, found = self.metric.decimals, self._snapshots()
        moments = {} if self.failure else self._means.moments
        return ScoreTable(
            metric=self.metric.name,
            version=self.metric.version,
            overall=self.overall,
            by_question_type=_scores(moments, "question", decimals),
            by_answer_type=_scores(moments, "answer", decimals),
            figures=found,
            errors=self._errors,
            unscored=self._unscored,
            unparsed=self._unparsed,
            ambiguous=self._ambiguous,
            credited=self._credited,
            failure=self.failure,
            calibration=None if self.failure else self._reliability.calibration(),
        )

    def _count(self, question: Question, grade: Grade) -> None:
        kinds = (
            _OVERALL,
            ("question", question.question_type),
            ("answer", question.answer_type),
        )
        self._means.add(
            cluster_of(question), [kind for kind in kinds if kind[1] is not None], grade.value
        )
        self._unparsed += grade.status == "unparsed"
        self._ambiguous += grade.status == "ambiguous"
        self._credited += grade.status != "parsed" and grade.value > 0

    def _snapshots(self) -> dict[str, Figure]:
        if self.failure:
            return {}
        try:
            parts = [one.snapshot() for one in self._figures]
        except Exception as error:  # noqa: BLE001  as in `add`
            self.failure = reason(error)
            return {}
        return {name: figure for part in parts for name, figure in part.items()}


def _scores(
    moments: Mapping[_Kind, Moments], breakdown: str, decimals: int | None
) -> dict[str, Score]:
    names = sorted(value for kind, value in moments if kind == breakdown and value is not None)
    return {name: score_of(moments[breakdown, name], decimals) for name in names}


def score_of(moments: Moments | None, decimals: int | None = None) -> Score:
    """The score that these moments give, in per cent, rounded if `decimals` says so."""
    if moments is None:
        return Score(math.nan, 0.0, 100.0, 0)
    low, high = moments.interval()
    # in the official code's order of operations, so that it rounds to the same figure
    percent, low, high = (
        figure if decimals is None else round(figure, decimals)
        for figure in (100 * moments.total / moments.count, 100 * low, 100 * high)
    )
    error = 100 * moments.standard_error()
    return Score(percent, low, high, moments.count, moments.clusters, error)
