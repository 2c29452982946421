"""A worker of an MLX family imports no torch, which may be installed for other adapters."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from attrs import evolve

from tests.mlx.builders import ask, picture
from vqa_engine.adapter import BUILTIN, Answer, GenerationPlan, ModelRef, Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession
from vqa_engine_adapters.mlx.smolvlm import SmolVlm


class Telling(SmolVlm):
    """Answers with the heavy libraries that are imported."""

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> list[Answer | VqaEngineError]:
        heavy = " ".join(name for name in ("torch", "mlx_vlm") if name in sys.modules)
        return [
            evolve(one, text=heavy) if isinstance(one, Answer) else one
            for one in super().answer_batch(questions, plan, following)
        ]


@pytest.mark.slow
def test_torch_is_not_imported_beside_mlx() -> None:
    target = f"{__name__}:Telling"
    session = WorkerSession(
        AdapterSpec(name="telling", model=ModelRef(model=BUILTIN), target=target)
    )
    session.load()
    ((_, reply),) = session.ask([ask(picture(), "What is this?")], GenerationPlan(max_tokens=2))
    session.release()
    assert reply.answer
    assert reply.answer.text == "mlx_vlm"
