"""The ladder: lossless first, never dearer, and it ends."""

from __future__ import annotations

from typing import get_args

import pytest
from attrs import evolve

from vqa_engine.adapter import LEAST, LEVERS, GenerationPlan, Lever, MemoryProfile
from vqa_engine.memory.ladder import NEEDS_LESS, Ladder, widths
from vqa_engine.results import Cause

PLAN = GenerationPlan()


def walk(ladder: Ladder, plan: GenerationPlan, cause: Cause, most: int = 9) -> list[GenerationPlan]:
    """The plans below, until the ladder ends or repeats itself."""
    plans = [plan]
    while len(plans) < most and (below := ladder.below(plans[-1], cause)) not in (None, plans[-1]):
        plans.append(below)
    return plans[1:]


@pytest.mark.parametrize(
    ("asked", "standing", "steps"),
    [
        (2048, None, [512, 128, 32]),
        (512, None, [128, 32]),
        (None, None, [128, 32]),
        (None, 512, [128, 32]),
        (None, 256, [128, 32]),
        (None, 128, [32]),
        (64, 512, [32]),
        (32, None, []),
    ],
)
def test_steps_only_get_smaller(asked: int | None, standing: int | None, steps: list[int]) -> None:
    plans = walk(Ladder(standing_step=standing), GenerationPlan(prefill_step=asked), "too_big")
    assert [plan.prefill_step for plan in plans] == steps
    assert [plan.rung for plan in plans] == list(range(1, len(steps) + 1))
    assert all(plan.encoder_batch == 1 for plan in plans)


def test_lossless_means_no_lossy_field_is_touched() -> None:
    for plan in walk(Ladder(), PLAN, "out_of_memory"):
        assert (plan.kv_bits, plan.image_longest_edge) == (None, None)


def test_lossy_rungs_follow_when_allowed() -> None:
    plans = walk(Ladder(allow_lossy=True), PLAN, "out_of_memory")
    shown = [(p.rung, p.prefill_step, p.kv_bits, p.image_longest_edge) for p in plans]
    assert shown == [
        (1, 32, None, None),
        (2, 32, 8, None),
        (3, 32, 8, 1024),
        (4, 32, 8, 512),
    ]


def test_what_is_already_smaller_is_left() -> None:
    plan = GenerationPlan(prefill_step=16, kv_bits=4, image_longest_edge=600)
    (only,) = walk(Ladder(allow_lossy=True), plan, "too_big")
    assert (only.prefill_step, only.kv_bits, only.image_longest_edge) == (16, 4, 512)


def test_a_rung_that_the_model_does_not_obey_is_skipped() -> None:
    plans = walk(Ladder(allow_lossy=True, levers=LEVERS - {"kv_bits"}), PLAN, "out_of_memory")
    assert [plan.kv_bits for plan in plans] == [None] * 3
    assert [plan.image_longest_edge for plan in plans] == [None, 1024, 512]
    (batch, *_) = walk(Ladder(levers=frozenset({"encoder_batch"})), PLAN, "too_big")
    assert (batch.prefill_step, batch.encoder_batch) == (None, 1)


def test_no_lever_goes_below_the_bound_that_its_adapter_declares() -> None:
    levers: dict[Lever, int] = {
        "prefill_step": 100,
        "encoder_batch": 3,
        "kv_bits": 4,
        "image_longest_edge": 336,
    }
    ladder = Ladder(levers=MemoryProfile(levers=levers).levers)
    (plan,) = walk(ladder, PLAN, "too_big")
    assert (plan.prefill_step, plan.encoder_batch) == (128, 3)
    plans = walk(evolve(ladder, allow_lossy=True), PLAN, "too_big")
    assert [(p.kv_bits, p.image_longest_edge) for p in plans[1:]] == [
        (4, None),
        (4, 1024),
        (4, 512),
        (4, 336),
    ]
    assert widths(PLAN, "prefill_step", ladder.levers) == [None, 2048, 1024, 512, 256, 128, 100]
    assert widths(PLAN, "encoder_batch", ladder.levers) == [None, 16, 8, 4, 3]


def test_a_set_of_levers_stands_for_the_usual_bounds() -> None:
    assert MemoryProfile(levers=frozenset({"kv_bits"})).levers == {"kv_bits": LEAST["kv_bits"]}
    usual = MemoryProfile().levers
    assert widths(PLAN, "prefill_step", usual) == [None, 2048, 1024, 512, 256, 128, 64, 32]
    assert widths(evolve(PLAN, prefill_step=300), "prefill_step", usual) == [300, 256, 128, 64, 32]
    assert widths(PLAN, "prefill_step", {}) == [None]


def test_a_model_that_obeys_nothing_gets_a_fresh_worker_only() -> None:
    none = Ladder(allow_lossy=True, levers=frozenset())
    assert none.below(PLAN, "out_of_memory") == PLAN
    assert none.below(PLAN, "too_big") is None


@pytest.mark.parametrize(("cause", "below"), [("too_big", None), ("watchdog", None)])
def test_what_a_restart_does_not_cure_ends_at_the_bottom(cause: Cause, below: None) -> None:
    assert Ladder().below(GenerationPlan(prefill_step=32), cause) is below


def test_out_of_memory_at_the_bottom_gets_a_fresh_worker() -> None:
    plan = GenerationPlan(prefill_step=32)
    assert Ladder().below(plan, "out_of_memory") == plan


@pytest.mark.parametrize("cause", sorted(set(get_args(Cause)) - NEEDS_LESS))
def test_other_causes_get_the_same_plan(cause: Cause) -> None:
    assert Ladder(allow_lossy=True).below(PLAN, cause) == PLAN
