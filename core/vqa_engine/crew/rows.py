"""From what a session settled to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.results import Failure, MemoryEvent, Reply, Row
from vqa_engine.session.protocol import Settled

Record = tuple[int, Row, tuple[MemoryEvent, ...]]
"""A question's place in the caller's order, its row, and what memory did meanwhile."""

MAX_DEATHS = 3
"""A question that was in flight this often when the whole process died is given up."""


def rows(
    label: str, settled: Sequence[Settled], plan: GenerationPlan, seconds: float, place: str = ""
) -> Iterator[tuple[Question, Row, tuple[MemoryEvent, ...]]]:
    """The rows of what was settled in `seconds`; whose backend is gone has none."""
    each = seconds / max(1, len(settled))
    for question, reply in settled:
        if not _is_gone(reply):
            row = Row.of(label, question, reply, plan, each, place)
            yield question, row, reply.events


def gone(settled: Sequence[Settled]) -> Failure | None:
    """Why the backend is gone, None when it is there."""
    return next((reply.failure for _, reply in settled if _is_gone(reply)), None)


def given_up(label: str, question: Question, what: str) -> Row:
    """The row of a question that died with `what` too often."""
    message = f"{what} died {MAX_DEATHS} times while this question was in flight"
    return Row(adapter=label, question=question, failure=Failure(cause="killed", message=message))


def _is_gone(reply: Reply) -> bool:
    return reply.failure is not None and reply.failure.cause == "gone"
