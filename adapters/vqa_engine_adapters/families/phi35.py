"""Phi-3.5-vision (`phi3_v`)."""

from __future__ import annotations

from math import ceil

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine_adapters.families.family import WORD_OR_PHRASE, Config, Family, Size

CROP = 336
"""Pixels; the side of a crop (the model's published image_processing_phi3_v.py)."""

_CROPS = 4
"""`num_crops` where the settings leave it out."""


def image_tokens(_config: Config, settings: Config) -> ImageTokens:
    """144 tokens per crop and for the whole image, with a separator per row of twelve.

    `(h·w + 1)·144 + 1 + (h + 1)·12` for h·w crops (docs/facts/mlx_vlm.md); `fixed`
    counts the separators of the tallest grid, all crops in one column.
    """
    tiles = crops(settings, None) + 1
    return ImageTokens(per_tile=144, tile_edge=CROP, max_tiles=tiles, fixed=1 + 12 * tiles)


def crops(settings: Config, longest_edge: int | None) -> int:
    """The most crops that an image is cut into under a plan's bound: those of a square.

    The processor enlarges every image until `num_crops` are used up.
    """
    most = int(settings.get("num_crops", _CROPS))
    return most if longest_edge is None else min(most, ceil(longest_edge / CROP) ** 2)


def scaled(size: Size, most: int) -> Size:
    """Pixels that an image of this size is scaled to, its proportions kept, before padding.

    The longer side fills as many crops as leave at most `most` in all, the shorter one is
    padded to whole crops (the model's published image_processing_phi3_v.py, `HD_transform`).
    A strip so thin that it would have no height left keeps one pixel.
    """
    ratio = max(size) / min(size)
    crops = max(n for n in range(1, most + 1) if n * ceil(n / ratio) <= most)
    long = crops * CROP
    short = max(1, int(long / ratio))
    return (long, short) if size[0] >= size[1] else (short, long)


def sizes(
    _config: Config, settings: Config, size: Size, longest_edge: int | None
) -> tuple[int, int]:
    """What an image of this size needs; exact.

    As many crops as `num_crops` allows, whatever the image's size.
    """
    columns, rows = (ceil(edge / CROP) for edge in scaled(size, crops(settings, longest_edge)))
    tiles = rows * columns + 1
    return tiles * 144 + 1 + (rows + 1) * 12, tiles


PHI35 = Family(
    adapter="phi35_vision",
    model=None,
    model_types=("phi3_v",),
    name="phi35_vision",
    # Every head has its own keys and values (docs/facts/models.md).
    estimate=MemoryProfile(kv_per_token=384 * 2**10, image_tokens=image_tokens({}, {})),
    instruction=WORD_OR_PHRASE,
    prompt=lambda _config: "<|user|>\n<|image_1|>\n{question}<|end|>\n<|assistant|>\n",
    marker="<|image_",
    # Its config's end token is not the one it emits (mlx-vlm #336, #444, #1496).
    stop=("<|end|>", "<|endoftext|>", "</s>"),
    cut=("<|end|>", "<|user|>", "<|assistant|>"),
    image_tokens=image_tokens,
    sizes=sizes,
    # CLIP ViT-L/14-336 whatever the config says (mlx_vlm/models/phi3_v/vision.py).
    encoder=lambda _config: (16, 577),
)
