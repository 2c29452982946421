"""Phi-3.5-vision (`phi3_v`) on MLX."""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import ceil
from typing import Any

from attrs import evolve
from PIL import Image

from vqa_engine.adapter import LEVERS
from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families import phi35
from vqa_engine_adapters.families.family import Config, Size
from vqa_engine_adapters.mlx import encoding
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.swapping import swapped

STRATEGIES = (CacheLimit(512 * 2**20),)
"""The planner narrows the rest where memory asks for it."""


def pixels(images: Any, image: Image.Image) -> dict[str, Any]:
    """The whole image first, then its crops, and the pixels that they make up.

    As mlx_vlm/models/phi3_v/processing_phi3_v.py, `preprocess`, which makes MLX arrays.
    """
    import numpy as np

    values, size = images._process_single_image(drawn(images, image))
    return {"pixel_values": values[None], "image_sizes": np.array([size])}


def fewer_crops(images: Any, longest_edge: int) -> AbstractContextManager[None]:
    """Cut no more crops than a square of this edge fills."""
    most = phi35.crops({"num_crops": images.num_crops}, longest_edge)
    return swapped(images, "num_crops", most)


def tail(processor: Any, prompt: str, *, special: bool) -> list[int]:
    """The ids after the image, as its processor makes them: less the first one.

    It treats that one as a start token (mlx_vlm/models/phi3_v/processing_phi3_v.py,
    `_convert_images_texts_to_inputs`), and never asks for the tokenizer's markers there.
    """
    text = prompt.partition("<|image_1|>")[2]
    return list(processor.tokenizer.encode(text, add_special_tokens=False)[1:])


def mend(processor: Any) -> None:
    """Make the processor of mlx-vlm 0.7.10 take strips of any shape.

    It scales an image to the width of `num_crops` crops, and a strip thinner than one
    pixel of them then has no height left (`_calc_hd_transform_size`).
    """
    images = processor.image_processor
    count, preprocess = images.calc_num_image_tokens, images.preprocess
    images.calc_num_image_tokens = lambda image: count(drawn(images, image))
    images.preprocess = lambda several, **rest: preprocess(
        [drawn(images, image) for image in several], **rest
    )


def drawn(images: Any, image: Image.Image) -> Image.Image:
    """The image stretched to what can be drawn; the processor stretches all of them anyway."""
    size = drawable(image.size, images.num_crops)
    return image if image.size == size else image.resize(size, Image.Resampling.NEAREST)


def drawable(size: Size, crops: int) -> Size:
    """The size with its shorter side at least one pixel of that many crops in a row."""
    least = ceil(max(size) / (crops * phi35.CROP))
    return max(size[0], least), max(size[1], least)


def sizes(
    config: Config, settings: Config, size: Size, longest_edge: int | None
) -> tuple[int, int]:
    """What an image needs once it can be drawn."""
    most = phi35.crops(settings, longest_edge)
    return phi35.sizes(config, settings, drawable(size, most), longest_edge)


class Phi35Vision(MlxAdapter):
    """Phi-3.5-vision on MLX, 4.1 B parameters, by default in 4 bits."""

    family = MlxFamily.on(
        # Its attention calls mx.fast directly, which reads no quantised cache.
        evolve(phi35.PHI35, estimate=evolve(phi35.PHI35.estimate, levers=LEVERS - {"kv_bits"})),
        STRATEGIES,
        weights=2_330_000_000,
        model="mlx-community/Phi-3.5-vision-instruct-4bit",
        # mlx-vlm puts nothing between the image and the question, and its processor then
        # drops the question's first token (models/phi3_v/processing_phi3_v.py,
        # `_convert_images_texts_to_inputs`). The model's own format has a line end there.
        lead="\n",
        sizes=sizes,
        mend=mend,
        pixels=pixels,
        narrow=fewer_crops,
        tower=encoding.phi,
        tail=tail,
        branches=True,
    )
