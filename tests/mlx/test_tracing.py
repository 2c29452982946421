"""What a trace shows is what the model gets."""

from __future__ import annotations

import pytest

from tests.mlx.builders import ADAPTERS, FAST, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan, Traceable

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=3)


@pytest.mark.parametrize("model_type", FAST)
def test_shows_what_the_model_gets(checkpoints: Checkpoints, model_type: str) -> None:
    with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
        assert isinstance(adapter, Traceable)
        question = ask(picture(200, 150))
        answer = adapter.answer(question, PLAN)
        shown = adapter.trace(question, PLAN)
        assert answer.tokens
        assert shown.prompt == adapter.prompt(question)
        assert len(shown.prompt_ids) == answer.tokens.prompt
        assert shown.image_size == (200, 150)
        assert shown.image_positions
        assert shown.image_positions[1] == answer.tokens.image
        assert shown.first[0][0] == answer.token_ids[0]
        assert len(shown.pixels) == 64
        assert adapter.answer(question, PLAN).token_ids == answer.token_ids
