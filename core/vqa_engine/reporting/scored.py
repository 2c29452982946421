"""The score of each row, from the same scoreboards that make the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from attrs import define

from vqa_engine.adapter import Question
from vqa_engine.results import Row
from vqa_engine.runs.account import said_in, score
from vqa_engine.scoring import Grade, Metric, Scoreboard, ScoreTable
from vqa_engine.scoring.metric import Ahead, checked, grade_ahead, together

T = TypeVar("T")


@define
class _Recorder:
    """A metric that keeps the score that it gave last."""

    metric: Metric
    last: float | None = None

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def version(self) -> int:
        return self.metric.version

    @property
    def decimals(self) -> int | None:
        return self.metric.decimals

    @property
    def aggregates(self) -> tuple[str, ...]:
        return self.metric.aggregates

    @property
    def grade_ahead(self) -> Ahead | None:
        return grade_ahead(self.metric)

    def grade(self, prediction: str, question: Question) -> Grade:
        grade = self.metric.grade(prediction, question)
        self.last = checked(grade).value
        return grade


class Scorer:
    """Scores rows one by one, and has the tables of all so far."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._recorders = [_Recorder(metric) for metric in metrics]
        self._boards = [Scoreboard(recorder) for recorder in self._recorders]

    def add(self, row: Row) -> Iterator[tuple[str, float | None]]:
        """The row's score, 0..1, in each metric; None without an answer or a ground truth."""
        for recorder in self._recorders:
            recorder.last = None
        score(row, self._boards)
        return ((recorder.name, recorder.last) for recorder in self._recorders)

    def together(self, items: Iterable[T], row: Callable[[T], Row]) -> Iterator[T]:
        """The items, whose rows are about to be added."""
        return together(items, self._recorders, lambda item: said_in(row(item)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics."""
        return tuple(recorder.name for recorder in self._recorders)

    def withdraw_error(self) -> None:
        """Count one row without an answer less: its question was asked again."""
        for board in self._boards:
            board.withdraw_error()

    def tables(self) -> tuple[ScoreTable, ...]:
        """The tables of all metrics."""
        return tuple(board.snapshot() for board in self._boards)
