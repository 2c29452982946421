"""The governor's plans for questions that are answered together, and what it counts."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest

from tests.builders import a_question, questions
from tests.memory.adapters import ROW, Crowding, Leaking, Node, Seeded, Steady, array
from tests.memory.running import run
from vqa_engine.adapter import GenerationPlan, ModelRef, Question, QuestionCost
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.governor import Governor
from vqa_engine.memory.holders import holders
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import CleanupStrategy, EveryQuestions, RecycleWorker

MIB = 1 << 20
PLAN = GenerationPlan()


@pytest.fixture(scope="module", autouse=True)
def quick_collector() -> None:
    """Freezing is part of what is tested here, so the collector is as it is in a run."""


def governor(adapter: Steady, budget: int | None = None, *, lossy: bool = False) -> Governor:
    """The governor of a loaded adapter."""
    made = Governor(
        adapter.memory_profile(), MemoryPolicy(budget=budget, lossy=lossy), adapter=adapter
    )
    adapter.load(ModelRef())
    made.bind(adapter.memory_profile())
    return made


class Priced(Crowding):
    """Notes what it is asked the cost of."""

    def __init__(self) -> None:
        super().__init__()
        self.weighed: list[tuple[int, int | None]] = []

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        self.weighed.append((len(questions), plan.image_longest_edge))
        return super().cost(questions, plan)


def test_questions_that_do_not_fit_together_are_planned_alone() -> None:
    adapter = Crowding()
    tight = governor(adapter, budget=1_200_000)
    assert tight.plan(questions(60), PLAN) is None
    assert tight.plan(questions(1), PLAN) is not None


def test_a_batch_shrinks_before_its_plan_narrows() -> None:
    adapter = Crowding()
    made = governor(adapter, budget=4 * MIB)
    assert made.plan(questions(40), PLAN) is None  # nothing is known yet
    alone = made.plan(questions(1), PLAN)
    assert alone is not None
    made.account(adapter.answer(questions(1)[0], alone))
    assert made.plan(questions(40), PLAN) is None  # alone the first one needs no such plan
    plan = made.plan(questions(5), PLAN)
    assert plan is not None
    assert (plan.rung, plan.prefill_step) == (0, None)


def test_each_question_may_need_as_much_as_the_first_when_nobody_can_say() -> None:
    class Silent(Leaking):
        """No `cost`, but a first guess."""

        memory_profile = Seeded.memory_profile
        kv_per_token = 100_000

    made = governor(Silent(), budget=20 * MIB)
    assert made.plan(questions(1), PLAN) is not None
    assert made.plan(questions(4), PLAN) is None


def test_a_question_that_fits_under_no_plan_is_refused() -> None:
    adapter = Seeded()
    adapter.kv_per_token = 10 * MIB
    with pytest.raises(OutOfMemory, match=r"6\.0 MiB \(given\)"):
        governor(adapter, budget=6 * MIB).plan(questions(1), PLAN)


@pytest.mark.parametrize(("lossy", "bounds"), [(False, [None]), (True, [None, None, 1024, 512])])
def test_a_refusal_asks_once_for_each_plan_that_costs_something_else(
    lossy: bool, bounds: list[int | None]
) -> None:
    adapter = Priced()
    adapter.kv_per_token = 10 * MIB
    with pytest.raises(OutOfMemory):
        governor(adapter, budget=6 * MIB, lossy=lossy).plan(questions(1), PLAN)
    assert adapter.weighed == [(1, bound) for bound in bounds]


def test_a_group_is_weighed_once() -> None:
    adapter = Priced()
    governor(adapter, budget=4 * MIB).plan(questions(40), PLAN)
    assert adapter.weighed == [(40, None)]


def asked_in(strategy: CleanupStrategy, sizes: Sequence[int]) -> Governor:
    """The governor after groups of these sizes."""
    adapter = Crowding()
    adapter.strategies = (strategy,)
    made = governor(adapter)
    for size in sizes:
        made.plan(questions(size), PLAN)
        made.account(None)
    return made


def test_a_fresh_process_is_asked_for_after_questions_not_groups() -> None:
    assert asked_in(RecycleWorker(after=20), [8, 8]).controls.recycle == ""
    assert "24 questions" in asked_in(RecycleWorker(after=20), [8, 8, 8]).controls.recycle


def test_an_interval_is_questions_not_groups() -> None:
    every = EveryQuestions(16, dynamic=False)
    events = asked_in(every, [8] * 6).drain(a_question())
    assert [event.call for event in events if event.strategy == every.name] == ["clear_cache"] * 3


def test_what_is_not_planned_is_not_counted() -> None:
    adapter = Crowding()
    adapter.strategies = (RecycleWorker(after=61),)
    made = governor(adapter, budget=1_200_000)
    assert made.plan(questions(60), PLAN) is None
    made.plan(questions(1), PLAN)
    made.account(None)
    assert made.controls.recycle == ""


@pytest.mark.slow
def test_a_leak_is_rated_per_question_in_groups_too() -> None:
    adapter = Leaking()
    made = governor(adapter)
    for _ in range(32):
        made.plan(questions(4), PLAN)
        last = [adapter.answer(one, PLAN) for one in questions(4)][-1]
        made.account(last)
    assert made.verdict().rate == 2048


class Ring(Node):
    """A cycle that tells when it is gone."""

    alive = 0

    def __init__(self) -> None:
        super().__init__()
        Ring.alive += 1

    def __del__(self) -> None:
        Ring.alive -= 1


@pytest.mark.slow
def test_looking_for_holders_freezes_nothing() -> None:
    """What was made since load is collected when it goes, as if nobody had looked."""
    gc.collect()
    gc.freeze()
    try:
        ring, kept = Ring(), [array(ROW)]
        assert holders(type(kept[0]))
        del ring
        gc.collect()
        assert Ring.alive == 0
    finally:
        gc.unfreeze()


class Miscounting(Steady):
    """Says nonsense about what it keeps and what a question costs."""

    def cached_bytes(self) -> int:
        return "many"  # type: ignore[return-value]  # that is the fault

    def drop_caches(self) -> None:
        raise SystemExit


class Misjudging(Steady):
    """Says nonsense about what a question costs."""

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(prompt_tokens=None)  # type: ignore[arg-type]  # that is the fault


def test_a_count_of_caches_that_is_none_is_set_aside() -> None:
    ran = run(Miscounting(), 2)
    assert all(reply.answer for reply in ran.replies)
    assert [e.call for e in ran.loaded.events if e.strategy == "set aside"] == ["cached_bytes"]


def test_a_cost_that_is_none_fails_its_question() -> None:
    (reply,) = run(Misjudging(), 1).replies
    assert reply.failure is not None
    assert "`int`, got `None` - at `$.prompt_tokens`" in reply.failure.message


def test_what_stays_is_collected_unless_the_process_ends_next() -> None:
    for last, residue in ((True, None), (False, 4 * Steady.weights)):
        adapter = Steady()
        stayed, events = governor(adapter).settle(last=last)  # it has not let its model go
        assert stayed == residue
        assert ("gc.collect" in [event.call for event in events]) is not last
