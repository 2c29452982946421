"""Models that have no adapter of their own, through `transformers`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from attrs import evolve

from tests.asking import planned
from tests.mlx.builders import ask, picture
from tests.torch.checkpoints import FURTHER
from tests.torch.conftest import Folder
from tests.torch.inside import Remote
from vqa_engine.adapter import NO_EDGE, GenerationPlan

PLAN = GenerationPlan(max_tokens=3)
SHAPES = [(90, 70), (300, 40), (28, 28), (640, 480)]
TEXT = "What colour?\nAnswer the question using a single word or phrase."
GEMMA = f"<bos><start_of_turn>user\n<start_of_image>{TEXT}<end_of_turn>\n<start_of_turn>model\n"
QWEN = (
    f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{TEXT}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
PHOTO = picture(4032, 3024)


@pytest.fixture(scope="module", params=FURTHER)
def model(
    request: pytest.FixtureRequest, process: ProcessPoolExecutor, folder: Folder
) -> Iterator[tuple[str, Remote]]:
    """Each type, loaded once."""
    remote = Remote(process, "vqa_engine_adapters.torch.generic:Transformers")
    assert remote.load(folder(request.param)) is None
    yield request.param, remote
    remote.call("release")


def test_the_image_comes_before_the_question(model: tuple[str, Remote]) -> None:
    kind, remote = model
    expected = GEMMA if kind == "gemma3" else QWEN
    assert remote.call("prompt", ask(picture(), "What colour?")) == expected


def test_the_prompt_starts_once(model: tuple[str, Remote]) -> None:
    kind, remote = model
    if kind != "gemma3":
        return  # the others have no start token
    ids = remote.call("trace", ask(picture(), "What colour?"), PLAN).prompt_ids
    assert ids.count(ids[0]) == 1


def test_answers_are_those_of_generate(model: tuple[str, Remote]) -> None:
    _, remote = model
    said = set()
    for image in (picture(), picture(50, 160), picture().rotate(180)):
        ids = remote.ids(ask(image), PLAN)
        assert ids == remote.reference(ask(image), PLAN)
        said.add(ids)
    assert len(said) > 1


def test_an_image_is_counted_before_it_is_computed(model: tuple[str, Remote]) -> None:
    _, remote = model
    rule = remote.call("memory_profile").image_tokens
    for shape in SHAPES:
        told = remote.call("cost", [ask(picture(*shape))], PLAN).prompt_tokens
        answer = remote.call("answer", ask(picture(*shape)), PLAN)
        assert answer.tokens.prompt == told
        assert 0 < answer.tokens.image <= rule.most
        assert answer.image_size == shape


@pytest.mark.slow
def test_a_photograph_is_made_smaller_unless_the_plan_lifts_the_bound(
    model: tuple[str, Remote],
) -> None:
    kind, remote = model
    profile = remote.call("memory_profile")
    answer = remote.call("answer", ask(PHOTO), planned(profile, PLAN))
    assert answer.image_size == (1536, 1152)
    assert answer.plan.image_longest_edge == 1536
    lifted = planned(profile, evolve(PLAN, image_longest_edge=NO_EDGE))
    whole = remote.call("cost", [ask(PHOTO)], lifted)
    if kind != "gemma3":  # whose pictures are all of one size
        assert whole.prompt_tokens > 6 * answer.tokens.prompt - 300
