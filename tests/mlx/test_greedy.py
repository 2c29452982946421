"""Answers behind a prefix are those of mlx-vlm's own loop, in fewer passes."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.mlx.builders import ask, picture
from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.driver import MlxAdapter

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=3)


def test_no_pass_is_computed_that_the_answer_does_not_need(
    smol: MlxAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    model = type(smol._ready().model.language_model)
    forward = model.__call__

    def counted(self: object, inputs: object, *given: object, **options: object) -> object:
        output = forward(self, inputs, *given, **options)
        widths.append(output.logits.shape[1])
        return output

    monkeypatch.setattr(model, "__call__", counted)
    smol.drop_caches()
    answer = smol.answer(ask(picture(), "What is this thing that I see?"), PLAN)
    assert answer.tokens
    passes = min(3, answer.tokens.completion + 1)  # the end, too, is a token to be found
    assert widths[1:] == [1] * passes  # the first is the image's, whose logits nobody reads


def test_a_suffix_longer_than_the_step_goes_in_steps(smol: MlxAdapter) -> None:
    question = ask(picture(), "Give one word. " * 40)
    wide, narrow = (smol.answer(question, evolve(PLAN, prefill_step=step)) for step in (None, 32))
    assert wide.token_ids == narrow.token_ids
