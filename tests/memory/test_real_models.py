"""The governor on mlx-vlm's own models, with tiny random checkpoints."""

from __future__ import annotations

import pytest

from tests.memory.running import run_all
from tests.mlx.builders import ADAPTERS, Checkpoints, ask, picture
from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.memory.policy import MemoryPolicy

pytestmark = pytest.mark.slow

pytest_plugins = ["tests.mlx.fixtures"]

MIB = 1 << 20
LONG = [ask(picture(), "what colour is the kettle " * (200 + 20 * n)) for n in range(3)]
"""Prompts of over a thousand tokens, whose attention sets the peak."""

PLAN = GenerationPlan(max_tokens=3, prefill_step=2048)


@pytest.fixture(scope="module", autouse=True)
def quick_collector() -> None:
    """Freezing is part of what is tested here, so the collector is as it is in a run."""


@pytest.mark.parametrize("model_type", ["smolvlm", "llava_next"])
def test_a_budget_below_the_plans_need_is_met_with_the_same_tokens(
    checkpoints: Checkpoints, model_type: str
) -> None:
    model = ModelRef(model=str(checkpoints(model_type, "float")))
    free = run_all(ADAPTERS[model_type](), LONG, PLAN, model=model)
    budget = max(free.peaks) * 2 // 3
    tight = run_all(
        ADAPTERS[model_type](), LONG, PLAN, model=model, policy=MemoryPolicy(budget=budget)
    )
    assert [a.token_ids for a in tight.answers] == [a.token_ids for a in free.answers]
    assert max(tight.peaks) <= budget < max(free.peaks)
    assert any(answer.plan.rung for answer in tight.answers)


def test_real_models_change_places_and_leave_nothing(checkpoints: Checkpoints) -> None:
    released = [
        run_all(
            ADAPTERS[model_type](),
            LONG[:2],
            PLAN,
            model=ModelRef(model=str(checkpoints(model_type, "float"))),
        ).released
        for model_type in ("smolvlm", "llava_next", "smolvlm", "llava_next")
    ]
    residues = [one.residue or 0 for one in released]
    assert residues[2:] == [0, 0]
    assert max(residues) < 4096  # constants that MLX keeps from a family's first use


def test_the_core_path_does_not_leak(checkpoints: Checkpoints) -> None:
    questions = [ask(picture(), f"what colour {'is ' * n}") for n in range(24)]
    model = ModelRef(model=str(checkpoints("smolvlm", "float")))
    ran = run_all(ADAPTERS["smolvlm"](), questions, GenerationPlan(max_tokens=2), model=model)
    assert ran.verdict.kind in {"steady", "warm-up"}
    assert len({reading.active for reading in ran.readings[10:]}) == 1
