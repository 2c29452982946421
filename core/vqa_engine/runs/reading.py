"""A run's rows with their grades, question by question, and those that are worth a look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from typing import Literal

from attrs import frozen

from vqa_engine.errors import ScoringError
from vqa_engine.results import Row
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import Metric
from vqa_engine.scoring.choice import stated

Only = Literal["wrong", "failed", "differ"]

RIGHT = 0.5
"""A score below this is wrong: VQA v2 calls an answer right that three of ten people gave (0.9),
and half right what one or two did."""


@frozen
class Graded:
    """A row with its score (0..1) in each metric; None without an answer or a ground truth."""

    row: Row
    scores: Mapping[str, float | None]

    @property
    def wrong(self) -> bool:
        """Whether the first metric that scored it found it wrong."""
        scored = [score for score in self.scores.values() if score is not None]
        return bool(scored) and scored[0] < RIGHT


def graded(row: Row, metrics: Sequence[Metric]) -> Graded:
    """The row with its scores."""
    return Graded(row, {metric.name: _score(row, metric) for metric in metrics})


def by_question(
    journal: Journal,
    labels: Sequence[str],
    metrics: Sequence[Metric],
    only: frozenset[Only] = frozenset(),
) -> Iterator[list[Graded]]:
    """What all adapters said of one question, in the caller's order; lazy.

    With `only`, the questions of which one row is wrong or failed, or whose answers differ
    between adapters, and of those the rows that are meant.
    """
    placed = (journal.placed_rows(label, failed=True) for label in labels)
    for _, group in groupby(merge(*placed, key=_place), key=_place):
        rows = [graded(row, metrics) for _, row in group]
        kept = rows if not only else [one for one in rows if _is_meant(one, rows, only)]
        if kept:
            yield kept


def _is_meant(one: Graded, rows: Sequence[Graded], only: frozenset[Only]) -> bool:
    tests: dict[Only, Callable[[], bool]] = {
        "wrong": lambda: one.wrong,
        "failed": lambda: one.row.answer is None,
        "differ": lambda: len({_said(each.row) for each in rows}) > 1,
    }
    return any(tests[kind]() for kind in only)


def _said(row: Row) -> str | None:
    return row.answer.text.strip().casefold() if row.answer else None


def _place(placed: tuple[int, Row]) -> int:
    return placed[0]


def _score(row: Row, metric: Metric) -> float | None:
    if row.answer is None:
        return None
    try:
        return metric.grade(stated(row.answer, row.question), row.question).value
    except ScoringError:
        return None
    except Exception:  # noqa: BLE001  another package's metric; the table says why it failed
        return None
