"""Rows for other programs: one JSON object a row, and the official VQA v2 result file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vqa_engine.results import Row
from vqa_engine.runs.reading import Graded
from vqa_engine.scoring.normaliser import normalised

_COLUMNS = (
    *("adapter", "question_id", "image", "question", "ground_truths"),
    *("prompt", "answer", "chosen", "probability", "logprob", "error", "seconds"),
)
"""What a spreadsheet gets of a row."""


def record(row: Row, scores: Mapping[str, float | None] | None = None) -> dict[str, Any]:
    """A row as JSON types: what was asked, what came, what it is worth, and what it cost.

    Exactly one of `answer` and `error` is not None. `scores` has a number in 0..1 for each
    metric. Times are seconds, memory is bytes.
    """
    question, answer = row.question, row.answer
    return {
        "adapter": row.adapter,
        "place": row.place,
        "question_id": question.question_id,
        "image": str(question.image) if isinstance(question.image, Path) else None,
        "image_id": question.image_id,
        "question": question.text,
        "ground_truths": list(question.answers),
        "question_type": question.question_type,
        "answer_type": question.answer_type,
        "prompt": answer.prompt if answer else None,
        "answer": answer.text if answer else None,
        "chosen": row.chosen,
        "logprob": answer.logprob if answer else None,
        "probability": answer.probability if answer else None,
        "scores": dict(scores or {}),
        "error": _error(row),
        "degraded": row.degraded,
        "seconds": row.seconds,
        "details": msgspec.to_builtins(answer) if answer else None,
        "attempts": msgspec.to_builtins(row.attempts),
    }


def flat(one: Graded) -> dict[str, Any]:
    """A row as one level of columns, with one for each metric."""
    known = record(one.row, one.scores)
    error = known["error"]["message"] if known["error"] else None
    return {name: known[name] for name in _COLUMNS} | {"error": error} | dict(one.scores)


def json_lines(rows: Iterable[Graded]) -> Iterator[bytes]:
    """One line for each row, newline included."""
    encode = msgspec.json.Encoder().encode
    for one in rows:
        yield encode(record(one.row, one.scores)) + b"\n"


def comma_separated(rows: Iterable[Graded], metrics: Sequence[str]) -> Iterator[bytes]:
    """A line for each row with what a spreadsheet needs, and a column for each metric."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_COLUMNS, *metrics], lineterminator="\n")
    writer.writeheader()
    for one in rows:
        truths = "; ".join(one.row.question.answers)
        writer.writerow(flat(one) | {"ground_truths": truths})
        yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    """What was written so far; a name in another encoding has its escapes."""
    data = text.getvalue().encode("utf-8", "backslashreplace")
    text.seek(0)
    text.truncate()
    return data


def vqa_v2_results(
    rows: Iterable[Row], *, errors_as_empty: bool = False, normalise: bool = False
) -> Iterator[bytes]:
    """The official result file, `[{"question_id": …, "answer": …}]`, in pieces.

    With `normalise` each answer is written as the evaluation normalises it: what the
    published submissions of LLaVA and others send (LLaVA,
    scripts/convert_vqav2_for_submission.py), for the official code compares most answers as
    they are.

    A row without an answer is left out, or written as the empty answer; the official
    evaluator wants every id of the set (docs/facts/metrics.md, "Files").
    """
    encode = msgspec.json.Encoder().encode
    opening = b"["
    for row in rows:
        if row.answer is None and not errors_as_empty:
            continue
        text = row.answer.text if row.answer else ""
        said = normalised(text) if normalise else text
        yield opening + encode({"question_id": row.question.question_id, "answer": said})
        opening = b",\n"
    yield b"]\n" if opening != b"[" else b"[]\n"


def _error(row: Row) -> dict[str, Any] | None:
    if row.failure is None:
        return None
    return {
        "cause": row.failure.cause,
        "message": row.failure.message,
        "detail": row.failure.detail,
    }
