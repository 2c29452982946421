"""Questions with several images on MLX: where they lie, what they cost, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints import further, llava, smolvlm
from tests.mlx.builders import ask, loaded, picture
from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

PLAN = GenerationPlan(max_tokens=4)
ONE, OTHER = picture(), picture(50, 160)


def both(text: str, first: object = ONE, second: object = OTHER) -> Question:
    return ask(first, text, images=(second,))


@pytest.fixture(scope="module", params=["smolvlm", "qwen2_vl"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlxAdapter]:
    folder = tmp_path_factory.mktemp("several") / request.param
    own = request.param == "smolvlm"
    made = smolvlm.write(folder) if own else further.write(folder, request.param)
    with loaded(made, SmolVlm() if own else MlxVlm()) as adapter:
        yield adapter


def test_images_lie_where_the_text_names_them(model: MlxAdapter) -> None:
    single = model.prompt(ask(ONE, "A question?"))
    prompt = model.prompt(both("Is <image 2> larger than <image 1>?"))
    assert prompt.index("Is ") < prompt.index(" larger than ") < prompt.index("?")
    assert "<image 1>" not in prompt
    (marker,) = (one for one in ("<image>", "<|image_pad|>") if one in single)
    assert [prompt.count(marker), single.count(marker)] == [2, 1]


def test_the_name_of_a_single_image_stays_text(model: MlxAdapter) -> None:
    named, bare = (model.prompt(ask(ONE, text)) for text in ("<image 1> A pin?", " A pin?"))
    assert named == bare.replace(" A pin?", "<image 1> A pin?")


def test_each_image_counts(model: MlxAdapter) -> None:
    asked = both("Is <image 1> like <image 2>?"), both("Is <image 1> like <image 2>?", OTHER, ONE)
    answers = [model.answer(question, PLAN) for question in asked]
    assert answers[0].token_ids != answers[1].token_ids
    again = model.answer(both("Is <image 2> like <image 1>?", OTHER, ONE), PLAN)
    assert again.token_ids == answers[0].token_ids


def test_all_images_are_counted(model: MlxAdapter) -> None:
    question = both("Are they alike?")
    told, answer = model.cost([question], PLAN), model.answer(question, PLAN)
    assert answer.tokens
    assert answer.tokens.prompt <= told.prompt_tokens <= answer.tokens.prompt + 4
    each = [model.answer(ask(one), PLAN).tokens for one in (ONE, OTHER)]
    assert answer.tokens.image == sum(tokens.image or 0 for tokens in each if tokens)
    assert answer.image_size == ONE.size


def test_tiles_that_are_encoded_one_at_a_time_change_nothing(model: MlxAdapter) -> None:
    question = both("Are they alike?")
    narrow = GenerationPlan(max_tokens=4, encoder_batch=1, prefill_step=16)
    assert model.answer(question, narrow).token_ids == model.answer(question, PLAN).token_ids


def test_such_a_question_goes_alone(model: MlxAdapter) -> None:
    several, single = both("Are they alike?"), ask(ONE)
    assert model.batch_size((several, several, single), PLAN) == 1
    assert model.batch_size((single, several), PLAN) == 1


def test_single_images_are_answered_as_before(model: MlxAdapter) -> None:
    before = model.answer(ask(ONE), PLAN).token_ids
    model.answer_batch([ask(ONE)], PLAN, both("Are they alike?"))
    model.answer(both("Are they alike?"), PLAN)
    assert model.answer(ask(ONE), PLAN).token_ids == before


def test_how_many_is_known_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = ModelRef(model=str(further.write(tmp_path / "qwen", "qwen2_vl")))
    known = MlxVlm().facts_of(folder)
    assert (known.family, known.images) == ("qwen2_vl", 100)
    assert MlxVlm().facts_of(ModelRef(model="/nowhere")).images == 1
    assert (LlavaMlx().facts_of(ModelRef()).family, LlavaMlx().images_per_question) == ("llava", 1)


@pytest.mark.parametrize(("write", "family"), [(llava.write, "llava"), (smolvlm.write, "smolvlm")])
def test_the_generic_adapter_tells_the_family(
    tmp_path: Path, write: Callable[[Path], Path], family: str
) -> None:
    assert MlxVlm().facts_of(ModelRef(model=str(write(tmp_path / "model")))).family == family
