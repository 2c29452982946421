"""A run's rows with their grades, question by question, and those that are worth a look."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from typing import Literal

from attrs import frozen

from vqa_engine.errors import ScoringError
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import Row
from vqa_engine.runs.account import said_in
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import Metric
from vqa_engine.scoring.choice import stated
from vqa_engine.scoring.metric import checked, together

log = logging.getLogger(__name__)

Only = Literal["wrong", "failed", "differ"]

RIGHT = 0.5
"""A score below this is wrong: VQA v2 calls an answer right that three of ten people gave (0.9),
and half right what one or two did."""


@frozen
class Graded:
    """A row with its score (0..1) in each metric; None without an answer or a ground truth.

    A metric has None, too, from the first question on that it failed on.
    """

    row: Row
    scores: Mapping[str, float | None]

    @property
    def wrong(self) -> bool:
        """Whether the first metric that scored it found it wrong."""
        scored = [score for score in self.scores.values() if score is not None]
        return bool(scored) and scored[0] < RIGHT


def graded(rows: Iterable[Row], metrics: Sequence[Metric]) -> Iterator[Graded]:
    """The rows with their scores; lazy. A warning says of a metric that fails why it did."""
    sound = {metric.name: metric for metric in metrics}
    for row in together(rows, metrics, said_in):
        scores: dict[str, float | None] = dict.fromkeys(metric.name for metric in metrics)
        for name, metric in tuple(sound.items()):
            try:
                scores[name] = _score(row, metric)
            except Exception as error:  # noqa: BLE001  another package's code raises anything
                del sound[name]
                log.warning(
                    "The metric %s fails on question %r: %s. It scores nothing from there on.",
                    name,
                    row.question.question_id,
                    reason(error),
                )
        yield Graded(row, scores)


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
    rows = (row for _, row in merge(*placed, key=_place))
    for _, group in groupby(graded(rows, metrics), key=_question):
        same = list(group)
        kept = same if not only else [one for one in same if _is_meant(one, same, only)]
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


def _question(one: Graded) -> object:
    return one.row.question.question_id


def _score(row: Row, metric: Metric) -> float | None:
    if row.answer is None:
        return None
    try:
        return checked(metric.grade(stated(row.answer, row.question), row.question)).value
    except ScoringError:
        return None
