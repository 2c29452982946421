"""Phi-3.5-vision's crops against the published rule: pixels, places, ids."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import phi3_v, published_phi
from tests.mlx.builders import Checkpoints, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.families import phi35
from vqa_engine_adapters.mlx import crops
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision, tail

pytest_plugins = ("tests.mlx.fixtures",)

SHAPES = [(640, 480), (480, 640), (1000, 300), (300, 1000), (337, 336), (90, 70), (1920, 1080)]
GRIDS = [(1, 1), (2, 2), (1, 4), (4, 1), (3, 4), (2, 3)]


def images(num_crops: int) -> Any:
    """An image processor's settings."""
    return SimpleNamespace(
        num_crops=num_crops, image_mean=published_phi.MEAN, image_std=published_phi.STD
    )


class TestPixels:
    """Padded, never stretched."""

    @pytest.mark.parametrize("num_crops", [1, 4, 9, 16])
    def test_are_the_published_ones(
        self, torch_process: ProcessPoolExecutor, num_crops: int
    ) -> None:
        for shape in SHAPES:
            image = picture(*shape)
            found, size = crops.crops(images(num_crops), image)
            expected = torch_process.submit(published_phi.pixels, image, num_crops).result()
            assert found.shape == expected.shape
            assert np.allclose(found, expected, atol=1e-5)
            assert size == published_phi.canvas(image, num_crops).size[::-1]

    def test_of_a_strip_keep_a_line(self) -> None:
        found, _ = crops.crops(images(4), Image.new("RGB", (4000, 1), (200, 0, 0)))
        assert found[1:, 2].min() < found[1:, 2].max()

    @pytest.mark.parametrize("num_crops", [1, 4, 16])
    def test_are_counted_before_they_are_cut(self, num_crops: int) -> None:
        for shape in [*SHAPES, (4000, 1), (1, 4000)]:
            told, tiles = phi35.sizes({}, {"num_crops": num_crops}, shape, None)
            found, (height, _) = crops.crops(images(num_crops), Image.new("RGB", shape))
            assert tiles == len(found)
            assert told == tiles * 144 + 1 + (height // 336 + 1) * 12


class TestPlaces:
    """Each crop's patches lie where the crop does."""

    @pytest.mark.parametrize("grid", GRIDS)
    def test_are_the_published_ones(self, grid: tuple[int, int]) -> None:
        assert _read(grid) == published_phi.places(*grid)


def _read(grid: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The (tile, row, column) of what the model reads, in order."""
    import mlx.core as mx
    from mlx_vlm.models.phi3_v import ModelConfig
    from mlx_vlm.models.phi3_v.vision import VisionModel

    with phi3_v.small_tower(1):
        tower: Any = VisionModel(ModelConfig.from_dict(phi3_v._config()))
    tiles = grid[0] * grid[1] + 1
    labels = np.indices((tiles, 24, 24)).transpose(1, 2, 3, 0) // [1, 2, 2]
    features = np.zeros((tiles, 577, 1024), dtype=np.float32)
    features[:, 1:, :3] = labels.reshape(tiles, 576, 3)
    states = mx.array(features)
    tower.img_processor.vision_model = lambda *_: (None, {-2: states})
    tower.img_projection = []
    tower.sub_GN, tower.glb_GN = _separator(-1, 4), _separator(-2, 3)
    tower.__class__ = crops._placed()
    count = tiles * 144 + 1 + (grid[0] + 1) * 12
    shape = mx.array([[336 * grid[0], 336 * grid[1]]])
    found = tower(
        mx.zeros((1, tiles, 3, 1, 1)),
        mx.zeros((1, count, 4096)),
        shape,
        [[0, n] for n in range(count)],
    )
    return [(int(tile), int(row), int(column)) for tile, row, column in found[0, :, :3].tolist()]


def _separator(label: int, axes: int) -> Any:
    import mlx.core as mx

    marked = np.zeros((1,) * (axes - 1) + (4096,), dtype=np.float32)
    marked[..., 0] = label
    return mx.array(marked)


class TestIds:
    """Both sides of the image are tokenised by themselves, start token and all."""

    def test_are_the_published_ones(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("phi3_v", "float"), Phi35Vision()) as adapter:
            ready, prompt = adapter._ready(), adapter.prompt(ask(picture()))
            made = ready.processor(images=[picture()], text=prompt)
            found = made["input_ids"][0].tolist()
            assert found == published_phi.ids(ready.tokenizer, prompt, found.count(-1))
            assert found.count(-1) == 2 * 144 + 1 + 2 * 12
            assert tail(ready.processor, prompt, special=True) == found[found.index(-1) + 313 :]

    def test_start_again_behind_the_image(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("phi3_v", "float"), Phi35Vision()) as adapter:
            ready = adapter._ready()
            found = tail(ready.processor, adapter.prompt(ask(picture())), special=True)
            assert found[0] == ready.tokenizer.bos_token_id


@pytest.mark.usefixtures("checkpoints")
@pytest.mark.slow
def test_more_crops_can_be_asked_for(tmp_path: Path) -> None:
    folder, plan = phi3_v.write(tmp_path / "phi", num_crops=1), GenerationPlan(max_tokens=1)
    with loaded(folder, Phi35Vision(), num_crops="2") as adapter:
        answer = adapter.answer(ask(picture(300, 150)), plan)
        assert answer.tokens
        assert answer.tokens.image == 3 * 144 + 1 + 2 * 12
        rule = adapter.memory_profile().image_tokens
        assert rule
        assert rule.max_tiles == 3
