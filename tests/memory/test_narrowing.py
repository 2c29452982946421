"""What gives way first when memory is short, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.builders import a_question
from tests.memory.adapters import Steady
from vqa_engine.adapter import GenerationPlan, MemoryProfile, Moment, Question, QuestionCost
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.backends import backend
from vqa_engine.memory.budget import Budget
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.estimator import Estimator
from vqa_engine.memory.planner import Planned, Planner

PLAN = GenerationPlan()
PROFILE = MemoryProfile(backend="mlx", kv_per_token=100, attention_per_pair=10, per_tile=3_000_000)


class Tiled(Steady):
    """A question has 1,000 tokens and 17 tiles; what is kept saves them all but one tile."""

    kept = False

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(
            prompt_tokens=1_000 * len(questions), image_tiles=17, rows=len(questions)
        )

    def cached_bytes(self) -> int:
        return 0

    def drop_caches(self) -> None:
        self.kept = True


def planner(adapter: Tiled, *, lossy: bool = False) -> Planner:
    controls = MemoryControls(backend("mlx"), PROFILE, adapter)
    return Planner(Estimator(PROFILE), controls, adapter=adapter, allow_lossy=lossy)


def planned(room: int, count: int = 1, *, lossy: bool = False) -> Planned | None:
    asked = [a_question(number) for number in range(count)]
    moment, budget = Moment(), Budget(limit=room, source="given")
    return planner(Tiled(), lossy=lossy).plan(asked, PLAN, moment, budget)


def levers(room: int) -> tuple[int | None, int | None]:
    found = planned(room)
    assert found is not None
    return found.plan.encoder_batch, found.plan.prefill_step


def test_with_room_nothing_is_narrowed() -> None:
    assert levers(10**9) == (None, None)
    together = planned(10**9, count=8)
    assert together is not None
    assert together.plan == PLAN


def test_the_batch_gives_way_before_the_plan() -> None:
    room = 70_000_000
    assert planned(room, count=8) is None
    assert levers(room) == (None, None)


def test_tiles_give_way_before_the_prefill_step() -> None:
    found = [levers(room) for room in range(64_000_000, 3_000_000, -500_000)]
    tiles = [many or 17 for many, _ in found]
    assert tiles == sorted(tiles, reverse=True)
    assert (2, None) in found
    narrowed = [many for many, step in found if step is not None]
    assert max(many or 17 for many in narrowed) < 4  # the step holds until tiles are few


def test_no_lever_is_narrowed_further_than_is_needed() -> None:
    for room in range(64_000_000, 4_000_000, -3_000_000):
        many, step = levers(room)
        if many is not None and many < 16:
            assert 1.25 * 3_000_000 * 2 * many > room
        if step is not None:
            assert 1.25 * 20 * step * 1_000 > room - 200_000


def test_kept_prefixes_go_before_a_refusal_and_after_all_other_levers() -> None:
    adapter = Tiled()
    ask = planner(adapter).plan
    ask([a_question(1)], PLAN, Moment(), Budget(limit=5_000_000, source="given"))
    assert not adapter.kept
    ask([a_question(1)], PLAN, Moment(), Budget(limit=3_500_000, source="given"))
    assert adapter.kept


@pytest.mark.parametrize("room", [3_000_000, 3_700_000])
def test_what_fits_without_its_margin_is_tried(room: int) -> None:
    found = planned(room)
    assert found is not None
    assert (found.plan.encoder_batch, found.plan.prefill_step) == (1, 32)
    assert found.expected <= room < found.bound


def test_what_does_not_fit_without_its_margin_is_refused_once_it_was_measured() -> None:
    one = planner(Tiled())
    budget = Budget(limit=2_000_000, source="given")
    tried = one.plan([a_question(1)], PLAN, Moment(), budget)
    assert tried is not None  # its figures are a guess until such a plan has run
    one.estimator.learn(tried.stages, 3_000_000)
    with pytest.raises(OutOfMemory, match="It does not fit"):
        one.plan([a_question(2)], PLAN, Moment(), budget)


def test_nothing_lossy_happens_unasked() -> None:
    for room in range(64_000_000, 3_000_000, -1_000_000):
        for lossy in (False, True):
            found = planned(room, lossy=lossy)
            assert found is not None
            assert (found.plan.kv_bits, found.plan.image_longest_edge) == (None, None)
