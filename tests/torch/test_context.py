"""A question of more tokens than the checkpoint's context fails alone, before it is computed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.mlx.builders import ask, picture, turned
from tests.mlx.test_context import SIZE, state
from tests.torch import inside
from tests.torch.conftest import Folder
from tests.torch.inside import Failed, Remote
from vqa_engine.adapter import Answer, GenerationPlan

pytestmark = pytest.mark.slow

PLAN = GenerationPlan(max_tokens=4)
SMOL = "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch"
GENERIC = "vqa_engine_adapters.torch.generic:Transformers"


@pytest.fixture(params=[("idefics3", SMOL, SIZE), ("idefics2", GENERIC, SIZE)])
def small(
    process: ProcessPoolExecutor, folder: Folder, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Remote]:
    """A model with a small context: one that is prefilled in steps, and one that is not."""
    kind, target, size = request.param
    remote = Remote(process, target)
    copied = Path(shutil.copytree(folder(kind), tmp_path / "copied"))
    assert remote.load(state(copied, size)) is None
    yield remote
    remote.call("release")


def test_it_fails_alone_and_before_it_is_computed(small: Remote) -> None:
    for text in ("What colour is it? " * 40, "x" * 100_000):
        question = ask(picture(), text)
        ran = small.pool.submit(inside.passes, small.target, "answer_batch", [question], PLAN, None)
        assert ran.result() == 0
        said = small.call("answer", question, PLAN)
        assert said.kind == "ContextExceeded"
        assert f"context is {SIZE} tokens" in said.text
        assert small.call("cost", [question], PLAN).kind == "ContextExceeded"
    assert isinstance(small.call("answer", ask(picture()), PLAN), Answer)


def test_the_image_and_the_answer_count_as_well(small: Remote) -> None:
    room = SIZE - small.call("answer", ask(picture()), PLAN).tokens.prompt
    for image in (picture(), turned()):
        plan = GenerationPlan(max_tokens=room)
        assert isinstance(small.call("answer", ask(image), plan), Answer)
        said = small.call("answer", ask(image), GenerationPlan(max_tokens=room + 1))
        assert isinstance(said, Failed)
        assert f"needs {SIZE + 1} tokens" in said.text
    choice = ask(picture(), choices=("a", "b"))
    scored = GenerationPlan(max_tokens=1000, choose="likelihood-text")
    assert len(small.call("score_choices", choice, ("a", "b"), scored).loglikelihoods) == 2
    assert small.call("score_choices", choice, ("a", "red " * SIZE), scored).facts["size"] == SIZE


def test_the_others_of_a_batch_are_answered(small: Remote) -> None:
    image = picture()
    asked = [ask(image), ask(image, "x" * 20_000), ask(image, "How many?")]
    first, failed, last = small.call("answer_batch", asked, PLAN, None)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert failed.kind == "ContextExceeded"
