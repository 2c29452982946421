"""The vision encoder in batches: the same answers, less memory at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from PIL import Image

from tests.checkpoints import phi3_v, smolvlm
from tests.mlx.builders import ADAPTERS, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=6)
ALL = 1000
"""More tiles than any image is cut into."""


def said(adapter: MlxAdapter, image: Image.Image, batch: int) -> tuple[int, ...]:
    """The answer's ids when so many tiles are encoded at once."""
    adapter.drop_caches()
    return adapter.answer(ask(image), evolve(PLAN, encoder_batch=batch)).token_ids


def peak(adapter: MlxAdapter, image: Image.Image, batch: int) -> int:
    """Bytes above the floor while a question is answered."""
    import mlx.core as mx

    said(adapter, image, batch)  # whatever is made once, is made
    adapter.drop_caches()
    mx.clear_cache()
    floor = mx.get_active_memory()
    mx.reset_peak_memory()
    said(adapter, image, batch)
    return int(mx.get_peak_memory()) - floor


@pytest.mark.parametrize("model_type", ["smolvlm", "idefics3", "llava_next", "llava"])
@pytest.mark.parametrize("reuse", ["on", "off"])
def test_answers_are_the_same(checkpoints: Checkpoints, model_type: str, reuse: str) -> None:
    with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type](), reuse=reuse) as adapter:
        image = picture(200, 150)
        expected = said(adapter, image, ALL)
        assert [said(adapter, image, batch) for batch in (1, 3)] == [expected] * 2


@pytest.mark.usefixtures("checkpoints")
@pytest.mark.slow
def test_answers_of_phi_are_the_same(tmp_path: Path) -> None:
    folder = phi3_v.write(tmp_path / "phi", num_crops=2)
    with loaded(folder, Phi35Vision()) as adapter:
        image = picture(300, 150)
        assert said(adapter, image, 2) == said(adapter, image, ALL)


@pytest.mark.slow
def test_seventeen_tiles_take_little_more_than_one(tmp_path: Path) -> None:
    """Tiles of 256 patches, so that the encoder sets the peak."""
    folder = smolvlm.write(tmp_path / "smolvlm", tile=128)
    with loaded(folder, SmolVlm()) as adapter:
        image = picture(200, 200)
        one, few, all_at_once = (peak(adapter, image, batch) for batch in (1, 2, ALL))
    assert one < few < all_at_once
    assert few < all_at_once / 2


@pytest.mark.parametrize("asked", [None, 2])
def test_the_bound_is_in_the_answers_plan(checkpoints: Checkpoints, asked: int | None) -> None:
    with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
        answer = adapter.answer(ask(picture()), evolve(PLAN, encoder_batch=asked))
    assert answer.plan.encoder_batch == asked


def test_a_model_of_unknown_make_is_left_alone(checkpoints: Checkpoints) -> None:
    class Unknown(MlxVlm):
        family = evolve(MlxVlm.family, relatives=())

    with loaded(checkpoints("smolvlm", "float"), Unknown()) as adapter:
        answer = adapter.answer(ask(picture()), evolve(PLAN, encoder_batch=2))
    assert answer.plan.encoder_batch is None


def test_the_model_is_whole_again_afterwards(checkpoints: Checkpoints) -> None:
    with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
        model = adapter._ready().model
        before = model.vision_model
        adapter.answer(ask(picture()), PLAN)
        assert model.vision_model is before
        assert adapter._ready().weights == adapter.memory_profile().weights
