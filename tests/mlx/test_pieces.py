"""How much is computed at once where nothing is asked for: little on a CPU, all on a GPU."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.mlx.builders import Checkpoints, ask, picture
from vqa_engine.adapter import Answer, GenerationPlan, ModelRef
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.pieces import small_pieces
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

PLAN = GenerationPlan(max_tokens=4)


def answered(checkpoints: Checkpoints, plan: GenerationPlan) -> Answer:
    """What a session says about a picture of several tiles."""
    session = LocalSession(SmolVlm(), ModelRef(model=str(checkpoints("smolvlm", "float"))))
    session.load()
    ((_, reply),) = session.ask([ask(picture(200, 150))], plan)
    session.release()
    assert reply.answer is not None
    return reply.answer


def test_little_at_once_on_a_cpu(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    little = answered(checkpoints, PLAN)
    monkeypatch.setattr("vqa_engine_adapters.mlx.pieces.on_gpu", lambda: True)
    whole = answered(checkpoints, PLAN)
    assert (little.plan.prefill_step, little.plan.encoder_batch) == (256, 1)
    assert (whole.plan.prefill_step, whole.plan.encoder_batch) == (None, None)
    assert little.token_ids == whole.token_ids
    assert little.memory is not None
    assert whole.memory is not None
    assert (little.memory.peak or 0) < (whole.memory.peak or 0)


def test_what_is_asked_for_goes_before(checkpoints: Checkpoints) -> None:
    plan = answered(checkpoints, evolve(PLAN, prefill_step=64, encoder_batch=3)).plan
    assert (plan.prefill_step, plan.encoder_batch, plan.rung) == (64, 3, 0)


def test_a_model_of_unknown_make_is_left_alone() -> None:
    assert small_pieces(MlxVlm.family) == ()
