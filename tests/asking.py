"""Asks a session as the engine does: through `ask`, until every question has its reply."""

from __future__ import annotations

from collections.abc import Iterable

from vqa_engine.adapter import GenerationPlan, MemoryProfile, MemoryReading, Question
from vqa_engine.results import Loaded, Reply
from vqa_engine.session.protocol import Session

WINDOW = 32


def reply_to(session: Session, question: Question, plan: GenerationPlan | None = None) -> Reply:
    """The reply to one question."""
    [(asked, reply)] = session.ask([question], plan or GenerationPlan())
    assert asked is question
    return reply


def replies_to(
    session: Session,
    questions: Iterable[Question],
    plan: GenerationPlan | None = None,
    window: int = WINDOW,
) -> list[Reply]:
    """The reply to each, in their order; `window` of them are offered at one time."""
    asked = list(questions)
    left, found = {id(question): question for question in asked}, dict[int, Reply]()
    while left:
        settled = session.ask(list(left.values())[:window], plan or GenerationPlan())
        assert settled
        for question, reply in settled:
            found[id(left.pop(id(question)))] = reply
    return [found[id(question)] for question in asked]


def planned(profile: MemoryProfile, plan: GenerationPlan) -> GenerationPlan:
    """The plan as the engine gives it to a loaded adapter of this profile."""
    return Loaded(profile=profile, seconds=0.0, memory=MemoryReading()).planned(plan)
