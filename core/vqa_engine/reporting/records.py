"""Rows as flat records, for pandas, polars and everything else that reads dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vqa_engine.reporting.scored import Scorer
from vqa_engine.results import Row
from vqa_engine.scoring import Metric


def records(rows: Iterable[Row], metrics: Sequence[Metric]) -> Iterator[dict[str, Any]]:
    """One flat dictionary a row: seconds, bytes and tokens, and a score (0..1) for each metric.

    Every record has the same keys; what is not known is None. Exactly one of `answer` and
    `error` is not None.
    """
    scorer = Scorer(metrics)
    for row in rows:
        yield {**_asked(row), **_given(row), **dict(scorer.add(row))}


def _asked(row: Row) -> dict[str, Any]:
    question = row.question
    return {
        "adapter": row.adapter,
        "question_id": question.question_id,
        "image": str(question.image) if isinstance(question.image, Path) else None,
        "image_id": question.image_id,
        "question": question.text,
        "ground_truths": list(question.answers),
        "question_type": question.question_type,
        "answer_type": question.answer_type,
    }


def _given(row: Row) -> dict[str, Any]:
    answer, failure = row.answer, row.failure
    tokens = answer.tokens if answer else None
    memory = answer.memory if answer else None
    return {
        "place": row.place or None,
        "prompt": answer.prompt if answer else None,
        "image_size": answer.image_size if answer else None,
        "answer": answer.text if answer else None,
        "chosen": row.chosen,
        "logprob": answer.logprob if answer else None,
        "probability": answer.probability if answer else None,
        "cause": failure.cause if failure else None,
        "error": failure.message if failure else None,
        "degraded": row.degraded,
        "attempts": len(row.attempts or (failure.attempts if failure else ())),
        "seconds": row.seconds,
        "prompt_tokens": tokens.prompt if tokens else None,
        "image_tokens": tokens.image if tokens else None,
        "completion_tokens": tokens.completion if tokens else None,
        "peak_bytes": memory.peak if memory else None,
    }
