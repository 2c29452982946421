"""Which metric scores a set when none is named: it depends on what the questions have."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Literal

from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring.choice import ROTATION, right_choice
from vqa_engine.scoring.metric import Grade, Metric, Rule
from vqa_engine.scoring.registry import metric

Kind = Literal["choice", "orders", "votes", "answers"]

VOTES = 10
"""As many answers as this are the votes of annotators; fewer are accepted answers."""

METRIC: dict[Kind, str] = {
    "choice": "choice",
    "orders": "circular",
    "votes": "vqa-v2-normalised",
    "answers": "exact",
}

_WHY: dict[Kind, str] = {
    "choice": "the questions have choices and a right one",
    "orders": "each question is asked with its choices in several orders",
    "votes": "the questions have ten answers each, the votes of annotators",
    "answers": "the questions have one to nine accepted answers",
}

_LOOKED_AT = 1000
"""Questions at the beginning of a set that decide; reading a whole set would be slow."""


@frozen
class Default:
    """The metric for a set, and the reason as the table gives it."""

    metric: Metric
    why: str


def default_metric(questions: Iterable[Question]) -> Default:
    """The metric for these questions; a mixed set is graded by what each question has."""
    kinds = {kind: None for kind in map(_kind_of, islice(questions, _LOOKED_AT)) if kind}
    if not kinds:
        return Default(_own("votes"), "the questions have no ground truths")
    if len(kinds) > 1:
        return Default(ByQuestion(), "some questions have choices, others votes or answers")
    (kind,) = kinds
    return Default(_own(kind), _WHY[kind])


def _own(kind: Kind) -> Metric:
    return metric(METRIC[kind], default=True)


def _kind_of(question: Question) -> Kind | None:
    """What the question can be scored by; None for one without ground truths."""
    if question.choices and right_choice(question) is not None:
        return "orders" if ROTATION in question.labels else "choice"
    if not question.answers:
        return None
    return "votes" if len(question.answers) >= VOTES else "answers"


@frozen(kw_only=True)
class ByQuestion(Rule):
    """Grades each question by the metric that is the default for its kind."""

    name: str = "by-question"
    _metrics: dict[Kind, Metric] = field(
        factory=lambda: {kind: _own(kind) for kind in METRIC}, eq=False
    )

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        kind = _kind_of(question)
        if kind is None:
            raise ScoringError("A question without ground truths cannot be scored.")
        return self._metrics[kind].grade(prediction, question)
