"""A question that does not fit is planned again before it runs, or refused in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from tests.builders import a_question
from tests.memory.adapters import (
    Chunked,
    Crowding,
    Filling,
    FillingAlone,
    FillingTogether,
    Hoarding,
    Seeded,
)
from tests.memory.running import run, run_together
from vqa_engine import Engine
from vqa_engine.adapter import (
    LEVERS,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    QuestionCost,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import PrefillStep
from vqa_engine.session.resident import Resident

MIB = 1 << 20


class Expensive(Seeded):
    """Says that each prompt token takes this many bytes of KV cache."""

    def __init__(self, kv_per_token: int) -> None:
        super().__init__()
        self.kv_per_token = kv_per_token


@pytest.mark.slow
def test_a_tight_budget_is_met_with_the_same_text() -> None:
    free = run(Seeded(), 40, stride=29)
    tight = run(Seeded(), 40, stride=29, policy=MemoryPolicy(budget=6 * MIB))
    assert tight.texts == free.texts
    assert max(tight.peaks) <= 6 * MIB
    assert max(free.peaks) > 12 * MIB


def test_the_rung_taken_stands_on_the_answer() -> None:
    tight = run(Seeded(), 40, stride=29, policy=MemoryPolicy(budget=6 * MIB))
    plans = [reply.answer.plan for reply in tight.replies if reply.answer]
    assert {plan.rung > 0 for plan in plans} == {True, False}
    assert all(plan.prefill_step for plan in plans if plan.rung)
    assert not any(plan.kv_bits or plan.image_longest_edge for plan in plans)


@pytest.mark.slow
def test_a_caller_with_a_budget_is_served_with_care_before_anything_is_known() -> None:
    tight = run(Chunked(), 40, stride=29, policy=MemoryPolicy(budget=6 * MIB))
    assert tight.texts == run(Chunked(), 40, stride=29).texts
    assert max(tight.peaks) <= 6 * MIB


def test_predictions_carry_their_truth() -> None:
    replies = run(Seeded(), 60, stride=29).replies
    last = [reply.prediction for reply in replies[20:]]
    pairs = [(one, one.truth) for one in last if one and one.truth]
    assert len(pairs) == 40
    assert all(truth <= one.bound for one, truth in pairs)
    assert sum(abs(one.expected - truth) / truth for one, truth in pairs) / 40 < 0.06


def test_what_cannot_fit_is_refused_with_figures() -> None:
    ran = run(Expensive(10 * MIB), 2, policy=MemoryPolicy(budget=6 * MIB))
    failure = ran.replies[0].failure
    assert failure is not None
    assert failure.cause == "refused"
    assert "6.0 MiB (given)" in failure.message


def test_lossy_plans_are_used_only_when_allowed() -> None:
    strict = run(Expensive(80_000), 1, policy=MemoryPolicy(budget=5 * MIB))
    assert strict.replies[0].answer is None
    loose = run(Expensive(80_000), 1, policy=MemoryPolicy(budget=5 * MIB, lossy=True))
    assert loose.replies[0].answer is not None
    assert loose.replies[0].answer.plan.kv_bits == 8


class Unquantised(Expensive):
    """Has no quantised KV cache, and says so."""

    def memory_profile(self) -> MemoryProfile:
        return evolve(super().memory_profile(), levers=LEVERS - {"kv_bits"})


def test_a_lever_that_the_model_lacks_saves_nothing() -> None:
    """The same budget as above: the quantised cache that made it fit is not there."""
    policy = MemoryPolicy(budget=5 * MIB, lossy=True)
    failure = run(Unquantised(80_000), 1, policy=policy).replies[0].failure
    assert failure is not None
    assert failure.cause == "refused"
    asked = run(Unquantised(80_000), 1, policy=policy, plan=GenerationPlan(kv_bits=8))
    assert asked.replies[0].answer is None


def test_declared_caches_are_dropped_before_a_question_is_refused() -> None:
    ran = run(Hoarding(), 40, policy=MemoryPolicy(budget=6 * MIB))
    assert all(reply.answer for reply in ran.replies)
    assert "drop_caches" in {event.call for event in ran.events}


@pytest.mark.slow
def test_a_leak_that_fills_the_budget_is_cured_by_a_fresh_start() -> None:
    adapter = Filling()
    ran = run(adapter, 40, policy=MemoryPolicy(budget=6 * MIB))
    assert all(reply.answer for reply in ran.replies)
    assert adapter.loads > 1


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [Filling, FillingAlone, FillingTogether])
def test_a_leak_loses_no_question_in_a_worker(adapter: type[Filling]) -> None:
    asked = [a_question(number, image=b"%d" % (number // 5)) for number in range(24)]
    with Engine(adapters=[adapter], memory_budget=6 * MIB) as engine:
        rows = list(engine.run(asked).rows())
    assert [row.answer is None for row in rows] == [False] * 24


@pytest.mark.slow
def test_a_refusal_that_a_fresh_process_would_cure_asks_for_one() -> None:
    resident = Resident(Filling(), ModelRef(), MemoryPolicy(budget=6 * MIB))
    resident.load()
    exchanges = [
        resident.ask([a_question(n)], 1, GenerationPlan(), lambda _begun: None) for n in range(20)
    ]
    resident.release()
    asked = next(exchange for exchange in exchanges if exchange.recycle)
    failure = asked.replies[0].failure
    assert failure is not None
    assert failure.cause == "refused"


@pytest.mark.parametrize(("given", "used"), [(None, 128), (32, 32)])
def test_a_standing_step_yields_to_the_callers(given: int | None, used: int) -> None:
    adapter = Seeded()
    adapter.strategies = (PrefillStep(128),)
    reply = run(adapter, 1, GenerationPlan(prefill_step=given)).replies[0]
    assert reply.answer is not None
    assert reply.answer.plan.prefill_step == used
    assert reply.answer.plan.rung == 0


class Clumsy(Seeded):
    """Cannot say what a question costs."""

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        raise ZeroDivisionError("by zero")


def test_a_cost_that_fails_is_that_questions_failure() -> None:
    failure = run(Clumsy(), 1).replies[0].failure
    assert failure is not None
    assert failure.cause == "python"


def test_a_batch_is_planned_by_what_it_costs_together() -> None:
    asked, asking = [a_question(400 + number) for number in range(64)], Crowding()
    ran = run_together(asking, asked, MemoryPolicy(budget=12 * MIB))
    assert all(reply.answer for reply in ran.replies)
    assert asking.together >= 32
    assert max(ran.peaks) <= 12 * MIB


def test_a_batch_teaches_what_the_next_one_will_need() -> None:
    asked = [a_question(7 * number) for number in range(128)]
    ran = run_together(Crowding(), asked, MemoryPolicy(budget=200 * MIB))
    told = [reply.prediction for reply in ran.replies if reply.prediction]
    pairs = [(one, one.truth) for one in told if one.truth]
    assert len(pairs) == 1 + len(asked) // 8  # the first question alone
    assert all(truth <= one.bound for one, truth in pairs)
    assert sum(abs(one.expected - truth) / truth for one, truth in pairs[5:]) / 12 < 0.06
