"""Pictures cut ahead, outside MLX: the same arrays, and nothing of MLX on the thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from PIL import Image

from tests.mlx.builders import ADAPTERS, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.pixels import Cutter

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=4)
FAMILIES = [*ADAPTERS]


@pytest.fixture(params=FAMILIES)
def adapter(request: pytest.FixtureRequest, checkpoints: Checkpoints) -> Any:
    with loaded(checkpoints(request.param, "float"), ADAPTERS[request.param]()) as made:
        yield made


def cutter(adapter: MlxAdapter) -> Cutter:
    found = adapter._ask().answering.readying.cutter
    assert found is not None
    return found


def processed(adapter: MlxAdapter, image: Image.Image) -> Mapping[str, Any]:
    """What mlx-vlm's own processor makes of the image and a prompt."""
    from mlx_vlm import prepare_inputs

    made = adapter._ready()
    index = getattr(made.config, "image_token_index", None)
    prompt = adapter.prompt(ask(image))
    found: Mapping[str, Any] = prepare_inputs(
        made.processor, images=[image], prompts=prompt, image_token_index=index
    )
    return found


def test_the_tiles_are_the_processors(adapter: MlxAdapter) -> None:
    image = picture(200, 150)
    expected = np.array(processed(adapter, image)["pixel_values"])
    found = cutter(adapter)(image)
    assert found.values.shape == expected.shape
    assert np.array_equal(found.values, expected)


def test_only_pillow_and_numpy_run_on_the_thread(adapter: MlxAdapter) -> None:
    import mlx.core as mx

    before, found = mx.get_active_memory(), list[Any]()
    mx.reset_peak_memory()
    thread = threading.Thread(target=lambda: found.append(cutter(adapter)(picture(200, 150))))
    thread.start()
    thread.join()
    assert type(found[0].values) is np.ndarray
    assert mx.get_active_memory() == before
    assert mx.get_peak_memory() <= before


def test_a_picture_cut_ahead_is_not_cut_again(
    adapter: MlxAdapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = adapter.answer(ask(picture(120, 90)), PLAN).token_ids
    adapter.drop_caches()
    threads, cut = list[threading.Thread](), Cutter.__call__

    def noted(self: Cutter, image: Image.Image) -> Any:
        threads.append(threading.current_thread())
        return cut(self, image)

    monkeypatch.setattr(Cutter, "__call__", noted)
    picture(120, 90).save(tmp_path / "next.png")
    question = ask(tmp_path / "next.png")
    adapter._ask().preparation.prefetch(question)
    assert adapter.answer(question, PLAN).token_ids == expected
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_picture_that_is_known_is_not_cut_at_all(adapter: MlxAdapter, tmp_path: Path) -> None:
    picture(120, 90).save(tmp_path / "same.png")
    first, second = ask(tmp_path / "same.png"), ask(tmp_path / "same.png", "And the dog?")
    adapter.answer(first, PLAN)
    adapter._ask().preparation.prefetch(second)
    assert adapter._ask().preparation.picture(second, None).pixels is None


@pytest.mark.parametrize("model_type", ["smolvlm", "phi3_v"])
@pytest.mark.slow
def test_a_bound_makes_the_same_answer_ahead_or_not(
    checkpoints: Checkpoints, model_type: str, tmp_path: Path
) -> None:
    """What was cut ahead knows no bound, and processors enlarge the smallest pictures."""
    picture(60, 40).save(tmp_path / "small.png")
    bound = evolve(PLAN, image_longest_edge=64)
    with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
        expected = adapter.answer(ask(tmp_path / "small.png"), bound).token_ids
        adapter.drop_caches()
        question = ask(tmp_path / "small.png")
        adapter._ask().preparation.prefetch(question)
        assert adapter.answer(question, bound).token_ids == expected


def test_a_broken_picture_names_its_own_question(adapter: MlxAdapter, tmp_path: Path) -> None:
    from vqa_engine.errors import ImageError

    (tmp_path / "broken.png").write_bytes(b"no picture")
    question = ask(tmp_path / "broken.png")
    adapter._ask().preparation.prefetch(question)
    with pytest.raises(ImageError):
        adapter.answer(question, PLAN)
