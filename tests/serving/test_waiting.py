"""Who goes to a model next, and which models share the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_question
from vqa_engine.adapter import GenerationPlan, MemoryProfile
from vqa_engine.memory.fit import needed
from vqa_engine.serving.sharing import Holding, share, victims
from vqa_engine.serving.waiting import Ticket, upcoming

PLANS = [GenerationPlan(max_tokens=n) for n in (8, 16)]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for the tickets' futures."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


def ticket(
    number: int, image: str, plan: GenerationPlan, loop: asyncio.AbstractEventLoop
) -> Ticket:
    return Ticket(a_question(number, image_id=image), plan, loop.create_future())


class TestUpcoming:
    """The order of a line."""

    def test_one_picture_after_the_other(self, loop: asyncio.AbstractEventLoop) -> None:
        line = [ticket(n, image, PLANS[0], loop) for n, image in enumerate("abcabda")]
        chosen = upcoming(line, 5)
        assert [one.question.question_id for one in chosen] == [0, 3, 6, 1, 4]

    def test_only_one_plan(self, loop: asyncio.AbstractEventLoop) -> None:
        line = [ticket(n, "a", PLANS[n % 2], loop) for n in range(5)]
        assert [one.question.question_id for one in upcoming(line, 9)] == [0, 2, 4]

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(PLANS))), st.integers(1, 9))
    def test_the_oldest_is_always_first(
        self,
        loop: asyncio.AbstractEventLoop,
        line: list[tuple[str, GenerationPlan]],
        window: int,
    ) -> None:
        waiting = [ticket(n, *one, loop) for n, one in enumerate(line)]
        chosen = upcoming(waiting, window)
        assert chosen[:1] == waiting[:1]
        assert len(chosen) <= window
        assert len({id(one) for one in chosen}) == len(chosen)


NEEDS = st.none() | st.integers(0, 100)
RESIDENTS = st.lists(st.builds(Holding, st.uuids().map(str), NEEDS, st.floats(0, 9)), max_size=5)


class TestSharing:
    """Who stays."""

    @given(NEEDS, RESIDENTS, st.integers(1, 200))
    def test_no_more_go_than_must(
        self, need: int | None, residents: list[Holding], budget: int
    ) -> None:
        going = victims(need, residents, budget)
        by_age = sorted(residents, key=lambda one: one.used)
        assert going == [one.label for one in by_age[: len(going)]]
        staying = by_age[len(going) :]
        if staying:
            assert (need or 0) + sum(one.need or 0 for one in staying) <= budget
            assert need is not None
            assert all(one.need is not None for one in staying)

    def test_without_a_known_limit_all_stay(self) -> None:
        assert victims(None, [Holding("a", None, 0)], None) == []

    @pytest.mark.parametrize(
        ("needs", "budget", "shared"),
        [
            ({"a": 10, "b": 20}, 50, (20, 30)),
            ({"a": 10, "b": 60}, 50, (10, 60)),
            ({"a": None, "b": 20}, 50, (50, 35)),
            ({"a": 10, "b": 20}, None, (None, None)),
            ({"a": 10}, 50, (50,)),
        ],
    )
    def test_share(
        self, needs: dict[str, int | None], budget: int | None, shared: tuple[int | None, ...]
    ) -> None:
        assert tuple(share(label, needs, budget) for label in needs) == shared

    def test_need(self) -> None:
        plan = PLANS[0]
        assert needed(MemoryProfile(), plan) == 0
        assert needed(MemoryProfile(backend="torch"), plan) is None
        known = MemoryProfile(backend="torch", weights=1000, kv_per_token=10)
        more = needed(evolve(known, kv_per_token=20), plan)
        assert 1000 < (needed(known, plan) or 0) < (more or 0)
