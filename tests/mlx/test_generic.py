"""Models that have no adapter of their own, through `mlx_vlm`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.asking import planned
from tests.checkpoints import further
from tests.mlx.builders import ask, loaded, picture
from vqa_engine.adapter import NO_EDGE, GenerationPlan, ModelRef
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm

PLAN = GenerationPlan(max_tokens=3)
QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SHAPES = [(90, 70), (300, 40), (28, 28), (640, 480)]
TEXT = "What colour?\nAnswer the question using a single word or phrase."

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The tiny checkpoint of a model type, made when it is first asked for."""
    root = tmp_path_factory.mktemp("further")
    return lambda kind: root / kind if (root / kind).exists() else further.write(root / kind, kind)


@pytest.fixture
def gemma(folder: Folder) -> Iterator[MlxAdapter]:
    with loaded(folder("gemma3"), MlxVlm()) as adapter:
        yield adapter


def prepared(adapter: MlxAdapter) -> list[int]:
    """The ids of a prompt as the model gets them."""
    from vqa_engine_adapters.mlx.preparing import prepare

    question = ask(picture(), "What colour?")
    made = prepare(adapter._ready(), adapter.prompt(question), picture())
    ids: list[int] = made.ids[0].tolist()
    return ids


def test_gemma_starts_once(gemma: MlxAdapter) -> None:
    start = gemma._ready().tokenizer.bos_token_id
    assert prepared(gemma).count(start) == 1


def test_gemma_sees_the_image_before_the_question(gemma: MlxAdapter) -> None:
    assert gemma.prompt(ask(picture(), "What colour?")) == (
        f"<bos><start_of_turn>user\n<start_of_image>{TEXT}<end_of_turn>\n<start_of_turn>model\n"
    )


def test_gemmas_image_sees_all_of_itself() -> None:
    import mlx.core as mx

    from vqa_engine_adapters.mlx.gemma import _mask

    marks = mx.array([[False, True, True, False]])
    assert _mask(marks, 1, 10).astype(mx.int32).tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert _mask(marks, 1, 4) is None
    assert _mask(mx.array([[False, False]]), 0, 10) is None


def test_gemmas_image_is_scaled_as_the_text(gemma: MlxAdapter) -> None:
    config = gemma._ready().config
    assert config.hidden_size == config.text_config.hidden_size


@pytest.mark.parametrize("kind", QWEN)
def test_qwen_sees_the_image_before_the_question(folder: Folder, kind: str) -> None:
    with loaded(folder(kind), MlxVlm()) as adapter:
        assert adapter.prompt(ask(picture(), "What colour?")) == (
            f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{TEXT}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )


@pytest.mark.parametrize("kind", ["gemma3", "pixtral", *QWEN])
def test_an_image_is_counted_before_it_is_computed(folder: Folder, kind: str) -> None:
    with loaded(folder(kind), MlxVlm()) as adapter:
        for shape in SHAPES:
            question = ask(picture(*shape))
            told = adapter.cost([question], PLAN).prompt_tokens
            answer = adapter.answer(question, PLAN)
            assert answer.tokens
            assert answer.tokens.prompt <= told <= answer.tokens.prompt + 2
            rule = adapter.memory_profile().image_tokens
            assert rule
            assert 0 < (answer.tokens.image or 0) <= rule.most


def test_a_prefill_step_never_parts_an_image_that_reads_both_ways(folder: Folder) -> None:
    with loaded(folder("gemma3"), MlxVlm()) as adapter:
        assert "prefill_step" not in adapter.memory_profile().levers
        for image in (picture(), picture(50, 160)):
            whole = adapter.answer(ask(image), PLAN)
            adapter.drop_caches()
            narrow = adapter.answer(ask(image), evolve(PLAN, prefill_step=1))
            assert narrow.token_ids == whole.token_ids
            assert narrow.plan.prefill_step is None


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("pixtral", f"<s>[INST][IMG]{TEXT}[/INST]"),
        (
            "internvl_chat",
            f"<|im_start|>user\n<image>\n{TEXT}<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_others_answer(folder: Folder, kind: str, prompt: str) -> None:
    with loaded(folder(kind), MlxVlm()) as adapter:
        assert adapter.prompt(ask(picture(), "What colour?")) == prompt
        answer = adapter.answer(ask(picture()), PLAN)
        rule = adapter.memory_profile().image_tokens
        assert answer.tokens
        assert rule
        assert 0 < (answer.tokens.image or 0) <= rule.most
        other = adapter.answer(ask(picture(90, 70).rotate(180)), PLAN)
        assert answer.token_ids != other.token_ids


def test_an_estimate_counts_the_image(folder: Folder) -> None:
    found = MlxVlm().profile_of(ModelRef(model=str(folder("qwen2_vl"))))
    assert found.image_tokens
    assert found.image_tokens.most == 55**2  # squares of 28 pixels within the bound
    assert found.image_tokens.within(NO_EDGE).most == 12_845_056 // 28**2


class TestBound:
    """A photograph is made smaller by the bound that the engine puts into the plan."""

    def told(self, folder: Folder, edge: int | None) -> int:
        with loaded(folder("qwen2_vl"), MlxVlm()) as adapter:
            plan = planned(adapter.memory_profile(), evolve(PLAN, image_longest_edge=edge))
            return adapter.cost([ask(picture(4032, 3024))], plan).prompt_tokens

    def test_by_default(self, folder: Folder) -> None:
        assert 2200 < self.told(folder, None) < 2400

    def test_by_the_plan(self, folder: Folder) -> None:
        assert self.told(folder, 280) < 150
        assert 15_500 < self.told(folder, NO_EDGE) < 15_700

    def test_is_in_the_profile(self, folder: Folder) -> None:
        with loaded(folder("qwen2_vl"), MlxVlm()) as adapter:
            assert adapter.memory_profile().image_longest_edge == 1536
