"""Requests that wait for a model, and which of them go to it next."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterable

from attrs import define, field

from vqa_engine.adapter import GenerationPlan, ImageSource, Question
from vqa_engine.results import Row


@define(eq=False)
class Ticket:
    """A request that waits. `row` is set once it is answered, cancelled when its client left."""

    question: Question
    plan: GenerationPlan
    row: Future[Row] = field(repr=False)

    @property
    def dropped(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.row.cancelled()


def upcoming(waiting: Iterable[Ticket], window: int) -> list[Ticket]:
    """What to offer a model next: at most `window` requests, all with one plan.

    The oldest comes first, so that none waits for ever; behind it the others about its picture,
    which share its prefix, then the other pictures, each with all its questions.
    """
    pictures: dict[object, list[Ticket]] = {}
    first: Ticket | None = None
    for ticket in waiting:
        first = first or ticket
        if ticket.plan == first.plan:
            pictures.setdefault(ticket.question.image_id, []).append(ticket)
    return [ticket for group in pictures.values() for ticket in group][:window]


def shared_images(waiting: Iterable[Ticket], image_id: str) -> tuple[ImageSource, ...]:
    """The pictures of this identity that wait already, so that memory holds them once."""
    alike = (one.question.all_images for one in waiting if one.question.image_id == image_id)
    return next(alike, ())
