"""Questions with several images on torch: where they lie, what they cost, what comes out."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.mlx.builders import ask, picture
from tests.torch.conftest import Folder
from tests.torch.inside import Remote
from vqa_engine.adapter import GenerationPlan, Question

PLAN = GenerationPlan(max_tokens=4)
ONE, OTHER = picture(), picture(50, 160)
CASES = {
    "smolvlm": "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch",
    "qwen2_vl": "vqa_engine_adapters.torch.generic:Transformers",
    "qwen3_vl": "vqa_engine_adapters.torch.generic:Transformers",
}


def both(text: str, first: object = ONE, second: object = OTHER) -> Question:
    return ask(first, text, images=(second,))


@pytest.fixture(scope="module", params=CASES)
def model(request: pytest.FixtureRequest, process: ProcessPoolExecutor, folder: Folder) -> Remote:
    remote = Remote(process, CASES[request.param])
    assert remote.load(folder(request.param)) is None
    return remote


def test_images_lie_where_the_text_names_them(model: Remote) -> None:
    single = model.call("prompt", ask(ONE, "A question?"))
    prompt = model.call("prompt", both("Is <image 2> larger than <image 1>?"))
    assert prompt.index("Is ") < prompt.index(" larger than ") < prompt.index("?")
    assert "<image 1>" not in prompt
    (marker,) = (one for one in ("<image>", "<|image_pad|>") if one in single)
    assert [prompt.count(marker), single.count(marker)] == [2, 1]


def test_answers_are_those_of_generate(model: Remote) -> None:
    said = set()
    for question in (
        both("Is <image 1> like <image 2>?"),
        both("Is <image 1> like <image 2>?", OTHER, ONE),
        both("Are they alike?"),
    ):
        ids = model.ids(question, PLAN)
        assert ids == model.reference(question, PLAN)
        said.add(ids)
    assert len(said) > 1


def test_the_order_of_the_text_is_the_models(model: Remote) -> None:
    swapped = both("Is <image 2> like <image 1>?", OTHER, ONE)
    assert model.ids(swapped, PLAN) == model.ids(both("Is <image 1> like <image 2>?"), PLAN)


def test_all_images_are_counted(model: Remote) -> None:
    question = both("Are they alike?")
    told = model.call("cost", [question], PLAN)
    answer = model.call("answer", question, PLAN)
    assert told.prompt_tokens == answer.tokens.prompt
    assert told.image_tiles >= 1
    each = [model.call("answer", ask(one), PLAN).tokens.image for one in (ONE, OTHER)]
    assert answer.tokens.image == sum(each)
    assert answer.image_size == ONE.size


def test_such_a_question_goes_alone(model: Remote) -> None:
    several, single = both("Are they alike?"), ask(ONE)
    assert model.call("batch_size", (several, several, single), PLAN) == 1
    assert model.call("batch_size", (single, several), PLAN) == 1


def test_single_images_are_answered_as_before(model: Remote) -> None:
    before = model.ids(ask(ONE), PLAN)
    model.ids(both("Are they alike?"), PLAN)
    assert model.ids(ask(ONE), PLAN) == before
