"""How many tokens an image takes in the families that have no adapter of their own.

The generic adapters run these; the rules let a question's cost and `fit` count its image.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, isqrt, sqrt
from typing import Any

from attrs import frozen

from vqa_engine.adapter import ImageTokens
from vqa_engine_adapters.families.family import LONGEST_EDGE, MANY_IMAGES, Config, Size, Sizes


@frozen(kw_only=True)
class ImageRule:
    """The `image_tokens` and `sizes` of a `Family`, for models of these types.

    Without `sizes` a question's image is taken to cost as much as the largest so far.
    `images` is how many they handle with one question.
    """

    model_types: tuple[str, ...]
    images: int = 1
    image_tokens: Callable[[Config, Config], ImageTokens | None]
    sizes: Sizes | None = None


def _qwen(config: Config, settings: Config) -> tuple[int, int, int]:
    """(side of the square of pixels that becomes one token, least and most pixels)."""
    vision = config.get("vision_config") or {}
    older = 14 if config.get("model_type") != "qwen3_vl" else 16
    patch = int(settings.get("patch_size") or vision.get("patch_size") or older)
    merge = int(settings.get("merge_size") or vision.get("spatial_merge_size") or 2)
    size = settings.get("size") or {}
    least = settings.get("min_pixels") or size.get("shortest_edge") or 56 * 56
    most = settings.get("max_pixels") or size.get("longest_edge") or 14 * 14 * 4 * 1280
    return patch * merge, int(least), int(most)


def _qwen_tokens(config: Config, settings: Config) -> ImageTokens:
    """The most that an image within `LONGEST_EDGE` takes, and one of the most pixels."""
    unit, _, most = _qwen(config, settings)
    whole = ImageTokens(per_tile=most // unit**2, tile_edge=isqrt(most))
    if whole.tile_edge <= LONGEST_EDGE:
        return whole
    squares = ceil(LONGEST_EDGE / unit) ** 2
    return ImageTokens(per_tile=squares, tile_edge=LONGEST_EDGE, unbounded=whole)


def _qwen_sizes(
    config: Config, settings: Config, size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    """Exact: an image is scaled to whole squares within the two bounds on its pixels.

    mlx_vlm/models/qwen3_vl/processing_qwen3_vl.py, `_smart_resize_image`, which is
    transformers' `smart_resize`.
    """
    unit, least, most = _qwen(config, settings)
    width, height = size
    squares = [round(edge / unit) for edge in size]
    pixels = squares[0] * squares[1] * unit**2
    if pixels > most:
        shrink = sqrt(width * height / most)
        squares = [max(1, floor(edge / shrink / unit)) for edge in size]
    elif pixels < least:
        grow = sqrt(least / (width * height))
        squares = [ceil(edge * grow / unit) for edge in size]
    return squares[0] * squares[1], 1


_GEMMA_FRAME = 4
"""Tokens around Gemma 3's image: an empty line and a marker on each side."""


def _gemma_tokens(config: Config, _settings: Config) -> ImageTokens:
    """Every image is scaled to one square (arXiv:2503.19786, 896 pixels, 256 tokens)."""
    vision: dict[str, Any] = config.get("vision_config") or {}
    count = int(config.get("mm_tokens_per_image", 256)) + _GEMMA_FRAME
    return ImageTokens(per_tile=count, tile_edge=int(vision.get("image_size", 896)))


def _gemma_sizes(
    config: Config, settings: Config, _size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    return _gemma_tokens(config, settings).per_tile, 1


def _pixtral(config: Config, settings: Config) -> tuple[int, int]:
    """(longest side, side of a patch) in pixels."""
    vision = config.get("vision_config") or {}
    patch = settings.get("patch_size") or vision.get("patch_size") or 16
    patch = patch["height"] if isinstance(patch, dict) else patch
    longest = (settings.get("size") or {}).get("longest_edge") or 1024
    return int(longest), int(patch) * int(config.get("spatial_merge_size") or 1)


def _pixtral_tokens(config: Config, settings: Config) -> ImageTokens:
    longest, patch = _pixtral(config, settings)
    side = ceil(longest / patch)
    return ImageTokens(per_tile=side * (side + 1), tile_edge=longest)


def _pixtral_sizes(
    config: Config, settings: Config, size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    """Exact: a token for each patch, and one behind each row of patches.

    mlx_vlm/models/pixtral/image_processing_pixtral.py, which is transformers' rule.
    """
    longest, patch = _pixtral(config, settings)
    shrink = max(1.0, max(size) / longest)
    columns, rows = (ceil(floor(edge / shrink) / patch) for edge in size)
    return rows * (columns + 1), 1


_INTERNVL_TILES = 12


def _internvl_tokens(config: Config, _settings: Config) -> ImageTokens:
    """The most tiles and a small copy (mlx_vlm/models/internvl_chat/processor.py)."""
    vision = config.get("vision_config") or {}
    edge = config.get("force_image_size") or vision.get("image_size") or 448
    edge, patch = (
        side[0] if isinstance(side, list) else side
        for side in (edge, vision.get("patch_size") or 14)
    )
    per_tile = int((edge // patch) ** 2 * float(config.get("downsample_ratio") or 0.5) ** 2)
    tiles = int(config.get("max_dynamic_patch") or _INTERNVL_TILES) + 1
    return ImageTokens(per_tile=per_tile, tile_edge=int(edge), max_tiles=tiles, fixed=2)


RULES = (
    ImageRule(
        model_types=("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
        images=MANY_IMAGES,
        image_tokens=_qwen_tokens,
        sizes=_qwen_sizes,
    ),
    ImageRule(model_types=("gemma3",), image_tokens=_gemma_tokens, sizes=_gemma_sizes),
    ImageRule(model_types=("pixtral",), image_tokens=_pixtral_tokens, sizes=_pixtral_sizes),
    ImageRule(model_types=("internvl_chat", "internvl"), image_tokens=_internvl_tokens),
)
