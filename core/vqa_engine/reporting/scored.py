"""The score of each row, from the same scoreboards that make the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define

from vqa_engine.results import Row
from vqa_engine.runs.account import score
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable


@define
class _Recorder:
    """A metric that keeps the score it gave last; what it is asked is the scoreboard's affair."""

    metric: Metric
    last: float | None = None

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def decimals(self) -> int | None:
        return self.metric.decimals

    def score(self, *asked: Any, **more: Any) -> float:
        self.last = self.metric.score(*asked, **more)
        return self.last


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

    def tables(self) -> tuple[ScoreTable, ...]:
        """The tables of all metrics."""
        return tuple(board.snapshot() for board in self._boards)
