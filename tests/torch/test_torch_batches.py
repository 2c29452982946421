"""Batches on torch: each row gives, token for token, what its question gives alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

from tests.mlx.builders import ask, picture
from tests.torch.conftest import Folder
from tests.torch.inside import Failed, Remote
from tests.torch.test_torch_adapters import TARGETS
from vqa_engine import load_questions
from vqa_engine.adapter import BUILTIN, Answer, GenerationPlan, Question
from vqa_engine_adapters.growth import FIRST, Growth
from vqa_engine_adapters.torch import batches

PLAN = GenerationPlan(max_tokens=6)
QUESTIONS = "shapes:seed=71,count=500"
TEXTS = ("Who?", "What colour is the kettle?", "How many dogs are there in it? " * 4)


def questions() -> list[Question]:
    """Five images of four shapes, three questions each."""
    images = [picture(40 + 31 * n % 90, 60 + 17 * n % 50) for n in range(4)]
    images.append(Image.new("RGB", (70, 60), (9, 80, 200)))
    return [ask(image, text) for image in images for text in TEXTS]


def alone(remote: Remote, asked: Sequence[Question]) -> list[tuple[int, ...]]:
    found = []
    for question in asked:
        remote.call("drop_caches")
        found.append(remote.ids(question, PLAN))
    return found


def ids(outcomes: Any) -> list[tuple[int, ...]]:
    assert all(isinstance(one, Answer) for one in outcomes), outcomes
    return [one.token_ids for one in outcomes]


@pytest.mark.parametrize("kind", ["idefics3", "llava", "llava_next", "idefics2"])
def test_a_batch_gives_the_ids_of_one_by_one(
    process: ProcessPoolExecutor, folder: Folder, kind: str
) -> None:
    remote, asked = Remote(process, TARGETS[kind]), questions()
    assert remote.load(folder(kind)) is None
    expected = alone(remote, asked)
    remote.call("drop_caches")
    assert ids(remote.call("answer_batch", asked, PLAN, None)) == expected
    assert ids(remote.call("answer_batch", asked[::3], PLAN, None)) == expected[::3]
    steps = evolve(PLAN, prefill_step=7, encoder_batch=2)
    remote.call("drop_caches")
    assert ids(remote.call("answer_batch", asked, steps, None)) == expected
    remote.call("release")


def test_rows_draw_as_each_alone(smol: Remote) -> None:
    warm = evolve(PLAN, temperature=1.0, seed=3)
    asked = questions()[:5]
    expected = [smol.ids(one, warm) for one in asked]
    assert ids(smol.call("answer_batch", asked, warm, None)) == expected


def test_what_cannot_be_asked_is_an_error_at_its_place(smol: Remote) -> None:
    asked = questions()[:4]
    asked[1] = ask(b"", "Who?")
    asked[2] = ask(b"no picture", "Who?")
    outcomes = smol.call("answer_batch", asked, PLAN, None)
    kinds = [getattr(one, "kind", "Answer") for one in outcomes]
    assert kinds == ["Answer", "ImageError", "ImageError", "Answer"]


def test_the_cost_counts_a_shared_image_once(smol: Remote) -> None:
    one, three = (smol.call("cost", questions()[:count], PLAN) for count in (1, 3))
    assert three.image_tiles == one.image_tiles
    assert three.apart_tokens == one.apart_tokens
    assert (three.rows, three.apart_rows) == (3, 1)


def test_the_first_batch_has_eight_pictures_with_all_their_questions(smol: Remote) -> None:
    pictures = [picture(20, 20) for _ in range(9)]
    asked = [ask(one, text) for one in pictures for text in TEXTS]
    assert smol.call("batch_size", asked, PLAN) == FIRST * len(TEXTS)
    assert smol.call("batch_size", asked[:2], PLAN) == 2


@pytest.mark.parametrize(
    ("each", "size", "rows", "expected"),
    [
        ([1] * 20, 8, 128, 8),
        ([5] * 60, 32, 128, 125),  # whole pictures only
        ([5] * 60, 32, 64, 60),
        ([3, 90], 8, 128, 40),  # ninety are asked in parts
        ([30, 30], 8, 128, 30),
        ([5] * 3, 8, 128, 15),
    ],
)
def test_a_picture_is_torn_apart_only_where_half_a_batch_would_be_lost(
    each: Sequence[int], size: int, rows: int, expected: int
) -> None:
    pictures = [picture(20, 20) for _ in each]
    asked = [ask(one) for one, n in zip(pictures, each, strict=True) for _ in range(n)]
    assert batches.together(asked, size, batches.EACH, rows) == expected
    assert batches.size(asked[:expected], batches.EACH) <= size


def test_a_batch_of_one_can_be_asked_for(smol: Remote, folder: Folder) -> None:
    assert smol.load(folder("idefics3"), batch="1") is None
    assert smol.call("batch_size", questions(), PLAN) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_hundred_questions_get_the_ids_of_one_by_one(process: ProcessPoolExecutor) -> None:
    remote, asked = Remote(process, TARGETS["smolvlm"]), list(load_questions(QUESTIONS))
    assert remote.load(BUILTIN) is None
    expected = [remote.ids(one, PLAN) for one in asked]
    remote.call("drop_caches")
    found = []
    for start in range(0, len(asked), 64):
        found += ids(remote.call("answer_batch", asked[start : start + 64], PLAN, None))
    remote.call("release")
    assert found == expected


@pytest.mark.parametrize(
    ("target", "size"),
    [("vqa_engine_adapters.torch.generic:Transformers", 6), ("tests.torch.adapters:Unmasked", 1)],
)
def test_other_models_answer_together_only_if_that_changes_nothing(
    process: ProcessPoolExecutor, folder: Folder, target: str, size: int
) -> None:
    remote = Remote(process, target)
    assert remote.load(folder("idefics2")) is None
    assert remote.call("batch_size", questions(), PLAN) == size
    remote.call("release")


class TestGrowth:
    """The batch grows while that pays."""

    def test_doubles_while_more_are_answered_in_a_second(self) -> None:
        growth = Growth(32)
        for seconds in (1.0, 1.5, 2.0):
            growth.answered(growth.size, seconds)
        assert growth.size == 32

    def test_grows_to_a_bound_whatever_that_brings(self) -> None:
        growth = Growth(64, always=32)
        growth.answered(FIRST, 1.0)
        for seconds in (100.0, 1000.0, 1000.0):
            growth.answered(growth.size, seconds)
        assert growth.size == 32

    def test_goes_back_to_what_was_best(self) -> None:
        growth = Growth()
        growth.answered(FIRST, 1.0)
        for _ in range(2):
            growth.answered(growth.size, 10.0)
        assert growth.size == FIRST

    def test_halves_for_good_when_they_did_not_fit(self) -> None:
        growth = Growth()
        growth.failed(FIRST)
        growth.answered(FIRST // 2, 1.0)
        assert growth.size == FIRST // 2


def test_half_of_them_go_together_when_all_do_not_fit(
    process: ProcessPoolExecutor, folder: Folder
) -> None:
    remote, asked = Remote(process, "tests.torch.adapters:Cramped"), questions()[:8]
    assert remote.load(folder("idefics3")) is None
    outcomes = remote.call("answer_batch", asked, PLAN, None)
    assert not isinstance(outcomes, Failed)
    assert ids(outcomes) == alone(remote, asked)
    assert {one.plan.rung for one in outcomes} == {0}
    assert remote.call("batch_size", asked, PLAN) <= 4
    remote.call("release")
