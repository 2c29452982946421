"""The one loop, over a place that dies at will: what it keeps of the questions that are through."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.builders import a_question
from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    MemoryReading,
    Question,
)
from vqa_engine.results import Failure, Loaded, MemoryEvent, Released, Reply
from vqa_engine.session.host import MOST_CASES, Host
from vqa_engine.session.protocol import Exchange, OnBegun

PLAN = GenerationPlan()


class Deadly:
    """Dies of every question that says so, and of every batch."""

    def __init__(self) -> None:
        self.alive = False

    def start(self, *, again: bool = False) -> Loaded:
        self.alive = True
        return Loaded(profile=MemoryProfile(), seconds=0, memory=MemoryReading(), window=4)

    def ask(
        self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan, on_begun: OnBegun
    ) -> Exchange:
        if limit > 1 or upcoming[0].text == "die":
            self.alive = False
            return Exchange(begun=limit, failure=Failure(cause="killed", message="killed"))
        return Exchange(begun=1, replies=(Reply(answer=Answer("yes")),))

    def stop(self, *, politely: bool) -> tuple[MemoryEvent, ...]:
        self.alive = False
        return ()

    def close(self) -> Released:
        self.alive = False
        return Released(residue=0, seconds=0)


def test_questions_that_are_never_offered_again_are_forgotten() -> None:
    host = Host("deadly", Deadly())
    host.load()
    for number in range(MOST_CASES):
        together = [a_question(f"{number}-{place}") for place in range(4)]
        assert host.ask(together, PLAN)[0][1].answer
    assert len(host._cases) <= MOST_CASES


def test_a_deadly_picture_is_not_kept() -> None:
    host, picture = Host("deadly", Deadly()), bytes(1000)
    host.load()
    before = sys.getrefcount(picture)
    assert host.ask([a_question(1, image=picture, text="die")], PLAN)[0][1].failure
    assert sys.getrefcount(picture) == before
    others = [a_question(number, image=picture) for number in (2, 3)]
    assert [reply.answer for _, reply in host.ask(others, PLAN)] == [Answer("yes")]
