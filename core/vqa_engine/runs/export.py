"""Rows for other programs: one JSON object a row, and the official VQA v2 result file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vqa_engine.results import Row
from vqa_engine.scoring.normaliser import normalised


def record(row: Row) -> dict[str, Any]:
    """A row as JSON types: what was asked, what came, and what it cost.

    Exactly one of `answer` and `error` is not None. Times are seconds, memory is bytes.
    """
    question, answer = row.question, row.answer
    return {
        "adapter": row.adapter,
        "place": row.place,
        "question_id": question.question_id,
        "image_id": question.image_id,
        "question": question.text,
        "ground_truths": list(question.answers),
        "question_type": question.question_type,
        "answer_type": question.answer_type,
        "answer": answer.text if answer else None,
        "error": _error(row),
        "degraded": row.degraded,
        "seconds": row.seconds,
        "details": msgspec.to_builtins(answer) if answer else None,
        "attempts": msgspec.to_builtins(row.attempts),
    }


def json_lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """One line for each row, newline included."""
    encode = msgspec.json.Encoder().encode
    for row in rows:
        yield encode(record(row)) + b"\n"


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
