"""Phi-3.5-vision (`phi3_v`) on MLX."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import evolve
from PIL import Image

from vqa_engine.adapter import LEVERS
from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families import phi35
from vqa_engine_adapters.mlx import encoding
from vqa_engine_adapters.mlx.crops import behind, correct, crops
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.options import Phi35Options
from vqa_engine_adapters.swapping import swapped

STRATEGIES = (CacheLimit(512 * 2**20),)
"""The planner narrows the rest where memory asks for it."""


def pixels(images: Any, pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """The whole image first, then its crops, and the pixels that they make up."""
    import numpy as np

    (picture,) = pictures
    values, size = crops(images, picture)
    return {"pixel_values": values[None], "image_sizes": np.array([size])}


def fewer_crops(images: Any, longest_edge: int) -> AbstractContextManager[None]:
    """Cut no more crops than a square of this edge fills."""
    most = phi35.crops({"num_crops": images.num_crops}, longest_edge)
    return swapped(images, "num_crops", most)


def tail(processor: Any, prompt: str, *, special: bool) -> list[int]:
    """The ids after the image, which the processor tokenises by themselves."""
    return behind(processor, prompt.partition("<|image_1|>")[2])


class Phi35Vision(MlxAdapter):
    """Phi-3.5-vision on MLX, 4.1 B parameters, by default in 4 bits."""

    family = MlxFamily.on(
        # Its attention calls mx.fast directly, which reads no quantised cache.
        evolve(phi35.PHI35, estimate=evolve(phi35.PHI35.estimate, levers=LEVERS - {"kv_bits"})),
        STRATEGIES,
        weights=2_330_000_000,
        model="mlx-community/Phi-3.5-vision-instruct-4bit",
        # The model's own format has a line end there, and mlx-vlm's nothing.
        lead="\n",
        mend=correct,
        options=Phi35Options,
        pixels=pixels,
        narrow=fewer_crops,
        tower=encoding.phi,
        tail=tail,
        branches=True,
    )
