"""A question of more tokens than the checkpoint's context fails alone, before it is computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mlx.builders import ask, loaded, picture, turned
from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import ContextExceeded
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=4)
SIZE = 200
"""Tokens; an image of `picture()` and the words around it take some 130."""


def state(folder: Path, size: int) -> Path:
    """Have a checkpoint state a context of so many tokens."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["max_position_embeddings"] = size
    file.write_text(json.dumps(config))
    return folder


@pytest.fixture(params=[True, False])
def small(copied: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[MlxAdapter]:
    """A model with a small context, with and without reuse of prefixes."""
    with loaded(state(copied("smolvlm"), SIZE), SmolVlm(), reuse=request.param) as adapter:
        yield adapter


def passes(monkeypatch: pytest.MonkeyPatch, adapter: MlxAdapter) -> list[int]:
    """One entry for each time that the language model runs from now on."""
    seen = list[int]()
    kind = type(adapter._ready().model.language_model)
    run = kind.__call__

    def counted(self: object, *given: object, **options: object) -> object:
        seen.append(1)
        return run(self, *given, **options)

    monkeypatch.setattr(kind, "__call__", counted)
    return seen


def test_it_fails_alone_and_before_it_is_computed(
    small: MlxAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = passes(monkeypatch, small)
    for text in ("What colour is it? " * 40, "x" * 100_000):
        with pytest.raises(ContextExceeded, match=f"context is {SIZE} tokens"):
            small.answer(ask(picture(), text), PLAN)
        with pytest.raises(ContextExceeded):
            small.cost([ask(picture(), text)], PLAN)
    assert not ran
    assert small.answer(ask(picture()), PLAN).tokens


def test_the_image_and_the_answer_count_as_well(small: MlxAdapter) -> None:
    tokens = small.answer(ask(picture()), PLAN).tokens
    assert tokens
    room = SIZE - tokens.prompt
    for image in (picture(), turned()):  # one whose prefix is kept, and a new one
        small.answer(ask(image), GenerationPlan(max_tokens=room))
        with pytest.raises(ContextExceeded, match=f"needs {SIZE + 1} tokens"):
            small.answer(ask(image), GenerationPlan(max_tokens=room + 1))
    choice = ask(picture(), choices=("a", "b"))
    scored = GenerationPlan(max_tokens=1000, choose="likelihood")
    assert small.score_choices(choice, ("a", "b"), scored).loglikelihoods


def test_the_others_of_a_batch_are_answered(small: MlxAdapter) -> None:
    image, said = picture(), small.answer(ask(picture()), PLAN)
    assert said.tokens
    assert said.tokens.image
    long = "?" * (SIZE - said.tokens.prompt + 28)
    readying = small._ask().answering.readying  # without its image it would do:
    readying.context.check_text(small.prompt(ask(image, long)), readying.prompts.tokens)
    asked = [ask(image), ask(image, long), ask(image, "x" * 20_000), ask(image, "How many?")]
    first, *failed, last = small.answer_batch(asked, PLAN, None)
    assert [type(one) for one in failed] == [ContextExceeded] * 2
    alone = [small.answer(one, PLAN) for one in (asked[0], asked[3])]
    assert [one.token_ids for one in alone] == [
        getattr(one, "token_ids", 0) for one in (first, last)
    ]


def test_an_option_that_is_too_long_fails(small: MlxAdapter) -> None:
    plan = GenerationPlan(choose="likelihood-text")
    with pytest.raises(ContextExceeded):
        small.score_choices(ask(picture(), choices=("a", "b")), ("a", "red " * SIZE), plan)
