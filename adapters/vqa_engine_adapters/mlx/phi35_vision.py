"""Phi-3.5-vision (`phi3_v`)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import ceil
from typing import Any

from PIL import Image

from vqa_engine.adapter import LEVERS, ImageTokens, MemoryProfile
from vqa_engine.memory.strategies import CacheLimit, EncoderBatch, PrefillStep
from vqa_engine_adapters.checkpoints.family import Config, Family
from vqa_engine_adapters.mlx import encoding, sizes
from vqa_engine_adapters.mlx.bounding import lent
from vqa_engine_adapters.mlx.driver import MlxAdapter

STRATEGIES = (CacheLimit(512 * 2**20), PrefillStep(256), EncoderBatch(1))
"""Every head has its own keys and values, 384 KiB a token (shared/facts/models.md), and a
crop takes more in its encoder than a step of the prefill does."""


def image_tokens(_config: Config, settings: Config) -> ImageTokens:
    """144 tokens per crop and for the whole image, with a separator per row of twelve.

    `(h·w + 1)·144 + 1 + (h + 1)·12` for h·w crops (shared/facts/mlx_vlm.md); `fixed`
    takes the separators of the tallest grid, all crops in one column.
    """
    tiles = int(settings.get("num_crops", 4)) + 1
    return ImageTokens(per_tile=144, tile_edge=sizes.CROP, max_tiles=tiles, fixed=1 + 12 * tiles)


def pixels(images: Any, image: Image.Image) -> dict[str, Any]:
    """The whole image first, then its crops, and the pixels that they make up.

    As mlx_vlm/models/phi3_v/processing_phi3_v.py, `preprocess`, which makes MLX arrays.
    """
    import numpy as np

    values, size = images._process_single_image(drawn(images, image))
    return {"pixel_values": values[None], "image_sizes": np.array([size])}


def fewer_crops(images: Any, longest_edge: int) -> AbstractContextManager[None]:
    """Cut no more crops than a square of this edge fills.

    The processor enlarges every image until `num_crops` are used up
    (mlx_vlm/models/phi3_v/processing_phi3_v.py, `_calc_hd_transform_size`).
    """
    return lent(images, "num_crops", min(images.num_crops, ceil(longest_edge / sizes.CROP) ** 2))


def tail(processor: Any, prompt: str, *, special: bool) -> list[int]:
    """The ids after the image, as its processor makes them: less the first one.

    It takes that one for a start token (mlx_vlm/models/phi3_v/processing_phi3_v.py,
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


def drawable(size: sizes.Size, crops: int) -> sizes.Size:
    """The size with its shorter side at least one pixel of that many crops in a row."""
    least = ceil(max(size) / (crops * sizes.CROP))
    return max(size[0], least), max(size[1], least)


def cut(
    config: Config, settings: Config, size: sizes.Size, longest_edge: int | None
) -> tuple[int, int]:
    """What an image is cut into once it can be drawn (`vqa_engine_adapters.mlx.sizes`)."""
    crops = int(settings.get("num_crops", 4))
    if longest_edge is not None:
        crops = min(crops, ceil(longest_edge / sizes.CROP) ** 2)
    return sizes.phi(config, settings, drawable(size, crops), longest_edge)


class Phi35Vision(MlxAdapter):
    """Phi-3.5-vision on MLX, 4.1 B parameters, by default in 4 bits."""

    family = Family(
        adapter="phi35_vision",
        model="mlx-community/Phi-3.5-vision-instruct-4bit",
        model_types=("phi3_v",),
        instruction="\nAnswer the question using a single word or phrase.",
        # Its config's end token is not the one it emits (mlx-vlm #336, #444, #1496).
        stop=("<|end|>", "<|endoftext|>", "</s>"),
        cut=("<|end|>", "<|user|>", "<|assistant|>"),
        # mlx-vlm puts nothing between the image and the question, and its processor then
        # drops the question's first token (models/phi3_v/processing_phi3_v.py,
        # `_convert_images_texts_to_inputs`). The model's own format has a line end there.
        lead="\n",
        prompt=lambda _config: "<|user|>\n<|image_1|>{question}<|end|>\n<|assistant|>\n",
        image_tokens=image_tokens,
        sizes=cut,
        tower=encoding.phi,
        # CLIP ViT-L/14-336 whatever the config says (mlx_vlm/models/phi3_v/vision.py).
        encoder=lambda _config: (16, 577),
        marker="<|image_",
        pixels=pixels,
        narrow=fewer_crops,
        tail=tail,
        branches=True,
        mend=mend,
        strategies=STRATEGIES,
        estimate=MemoryProfile(
            backend="mlx",
            weights=2_330_000_000,
            kv_per_token=384 * 2**10,
            image_tokens=image_tokens({}, {}),
            levers=LEVERS - {"kv_bits"},
            strategies=STRATEGIES,
        ),
        # Its attention calls mx.fast directly, which takes no quantised cache.
        quantises_kv=False,
    )
