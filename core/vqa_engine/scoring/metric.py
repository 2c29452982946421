"""What a metric offers: it grades one prediction against its question."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, Protocol, TypeVar, runtime_checkable

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError

T = TypeVar("T")

AT_ONCE = 256
"""Answers that cross to another package's metric together."""

Asked = tuple[str, Question]
Ahead = Callable[[Sequence[Asked]], None]

Status = Literal["parsed", "ambiguous", "unparsed"]
"""Whether a prediction could be understood: as one answer, as several, or as none."""


@frozen
class Grade:
    """What a metric says of one prediction.

    `value` is the score, in 0..1. `parsed` is the answer that the metric understood, such as
    a letter, where it parses at all. A prediction that is ambiguous or unparsed is wrong,
    unless a metric reproduces an official rule that credits it.
    """

    value: float
    parsed: str | None = None
    status: Status = "parsed"


@runtime_checkable
class Metric(Protocol):
    """One named and versioned way to grade a prediction."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The metric's name, stored beside every score it gives."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Raised whenever a score can change."""

    @property
    @abstractmethod
    def decimals(self) -> int | None:
        """Decimals that reported percentages are rounded to; None leaves them unrounded."""

    @property
    @abstractmethod
    def aggregates(self) -> tuple[str, ...]:
        """Names of the figures beyond the mean (`vqa_engine.scoring.aggregate`)."""

    @abstractmethod
    def grade(self, prediction: str, question: Question) -> Grade:
        """The grade of one prediction.

        Raises:
            ScoringError: the question holds nothing to compare with; it is left out.
        """


@runtime_checkable
class StringMetric(Protocol):
    """The short form of a metric: it compares strings, and its figure is the mean."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As `Metric.name`."""

    @abstractmethod
    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The score, in 0..1, against ground truths, of which there is at least one."""


@frozen(kw_only=True)
class Rule:
    """What the engine's metrics have in common; as a base class it saves a plugin lines."""

    name: str
    version: int = 1
    decimals: int | None = None
    aggregates: tuple[str, ...] = ()


@frozen(kw_only=True)
class StringRule(Rule):
    """A metric over the ground truths as a whole."""

    score: Callable[[str, Sequence[str]], float]

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        return Grade(self.score(prediction, truths(question)))


@frozen(kw_only=True)
class BestRule(Rule):
    """A metric that compares with each accepted answer, and keeps the best."""

    compare: Callable[[str, str], float]

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        return Grade(max(self.compare(prediction, truth) for truth in truths(question)))


@frozen(kw_only=True)
class FunctionMetric(Rule):
    """A function of prediction and question as a metric; it gives a number or a `Grade`."""

    function: Callable[[str, Question], Grade | float]

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        given = self.function(prediction, question)
        return given if isinstance(given, Grade) else Grade(given)


def truths(question: Question) -> tuple[str, ...]:
    """The ground truths, of which there is at least one.

    Raises:
        ScoringError: there is none.
    """
    if not question.answers:
        raise ScoringError("A question without ground truths cannot be scored.")
    return question.answers


def checked(grade: object) -> Grade:
    """The grade, if it is one.

    Raises:
        TypeError, ValueError: it is no grade, or its value is not a number in 0..1.
    """
    if not isinstance(grade, Grade):
        raise TypeError(f"the metric gave {type(grade).__name__}, not a Grade")
    try:
        fits = 0 <= grade.value <= 1
    except TypeError:  # a text, None
        fits = False
    if not fits:
        raise ValueError(f"the metric gave {grade.value!r}, and a score is in 0..1")
    return grade


def together(
    items: Iterable[T], metrics: Iterable[Metric], asked: Callable[[T], Asked | None]
) -> Iterator[T]:
    """The items, after metrics that grade many answers faster than one have seen some of them.

    `asked` gives an item's answer with its question, None where there is none. Such a metric has
    `grade_ahead`, which makes the next calls of `grade` quick.
    """
    ahead = [call for one in metrics if (call := grade_ahead(one))]
    if not ahead:
        yield from items
        return
    waiting = iter(items)
    while some := list(islice(waiting, AT_ONCE)):
        pairs = [pair for pair in map(asked, some) if pair is not None]
        for call in ahead:
            call(pairs)
        yield from some


def grade_ahead(metric: Metric) -> Ahead | None:
    """How a metric is shown many answers at once, None for one that need not see them."""
    call: Ahead | None = getattr(metric, "grade_ahead", None)
    return call
