"""Scoring a finished VQA v2 result file: `[{question_id, answer}, …]`, without any model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vqa_engine.adapter import Question, QuestionId
from vqa_engine.errors import ScoringError
from vqa_engine.files import open_regular
from vqa_engine.scoring.defaults import default_metric
from vqa_engine.scoring.making import MetricLike
from vqa_engine.scoring.metric import Asked, together
from vqa_engine.scoring.registry import metrics
from vqa_engine.scoring.scoreboard import Scoreboard, ScoreTable

if TYPE_CHECKING:
    from vqa_engine.questions import QuestionSet

_SHOWN = 5


class _Row(msgspec.Struct):
    question_id: int | str
    answer: str


def score_results(
    questions: QuestionSet,
    results: Path,
    wanted: Iterable[MetricLike] = (),
    *,
    partial: bool = False,
) -> tuple[tuple[ScoreTable, ...], str]:
    """Score a result file against the ground truths of `questions`, one table per metric.

    Without a metric that is wanted the default is taken, and the reason comes with the tables.

    The file has to answer exactly the questions of the set. With `partial` the ids that
    both have are scored, and the others on either side are passed over.

    Raises:
        ConfigurationError: there is no such metric.
        ScoringError: the file cannot be read, has another shape, answers a question twice,
            does not fit the set, or nothing in it can be scored; ids are named.
    """
    predictions, why = _read(results), ""
    chosen = metrics(wanted)
    if not chosen:
        default = default_metric(questions)
        chosen, why = (default.metric,), default.why
    boards = [Scoreboard(metric) for metric in chosen]
    missing = _add_all(questions, predictions, boards)
    if not partial:
        _check_complete(results, missing, list(predictions))
    tables = tuple(board.snapshot() for board in boards)
    _check_scored(results, tables)
    return tables, why


def _read(results: Path) -> dict[QuestionId, str]:
    try:
        rows = msgspec.json.decode(_bytes(results), type=list[_Row])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScoringError(
            f"{results}: this is no VQA v2 result file, a JSON list of "
            f"{{question_id, answer}}: {error}"
        ) from error
    predictions = {row.question_id: row.answer for row in rows}
    if len(predictions) < len(rows):
        raise ScoringError(f"{results}: answered more than once: {_shown(_repeated(rows))}")
    return predictions


def _bytes(results: Path) -> bytes:
    try:
        with open_regular(results) as file:
            return file.read().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ScoringError(f"{results}: it cannot be read: {error.strerror}") from error


def _repeated(rows: Iterable[_Row]) -> list[QuestionId]:
    seen: set[QuestionId] = set()
    twice: dict[QuestionId, None] = {}
    for row in rows:
        if row.question_id in seen:
            twice[row.question_id] = None
        seen.add(row.question_id)
    return list(twice)


def _add_all(
    questions: QuestionSet, predictions: dict[QuestionId, str], boards: Sequence[Scoreboard]
) -> list[QuestionId]:
    """Add each prediction to every board and take it out; the ids without one come back."""
    missing = []
    waiting = together(questions, [one.metric for one in boards], partial(_asked, predictions))
    for question in waiting:
        prediction = predictions.pop(question.question_id, None)
        if prediction is None:
            missing.append(question.question_id)
            continue
        for board in boards:
            board.add(prediction, question)
    return missing


def _asked(predictions: Mapping[QuestionId, str], question: Question) -> Asked | None:
    prediction = predictions.get(question.question_id)
    return None if prediction is None else (prediction, question)


def _check_complete(
    results: Path, missing: Sequence[QuestionId], unknown: Sequence[QuestionId]
) -> None:
    problems = []
    if missing:
        problems.append(f"no answer to {_shown(missing)}")
    if unknown:
        problems.append(f"answers to questions that the set does not have: {_shown(unknown)}")
    if problems:
        raise ScoringError(
            f"{results}: {'; '.join(problems)}. Score what both have with --partial."
        )


def _check_scored(results: Path, tables: Sequence[ScoreTable]) -> None:
    if any(table.overall.count for table in tables) or not tables:
        return
    for table in tables:
        if table.failure:
            raise ScoringError(f"{results}: the metric {table.metric!r} failed: {table.failure}.")
    if any(table.unscored for table in tables):
        raise ScoringError(
            f"{results}: the question set has no ground truths that the metric can use; "
            "give them with --annotations, or choose another --metric."
        )
    raise ScoringError(f"{results}: it answers no question of the set.")


def _shown(ids: Sequence[QuestionId]) -> str:
    first = ", ".join(repr(one) for one in ids[:_SHOWN])
    count = f"{len(ids)} question{'s' if len(ids) > 1 else ''}"
    return f"{count} ({first}{', …' if len(ids) > _SHOWN else ''})"
