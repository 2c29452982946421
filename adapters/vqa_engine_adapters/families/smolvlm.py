"""SmolVLM and SmolVLM2, and the Idefics3 models that they descend from."""

from __future__ import annotations

from math import ceil
from pathlib import Path

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine_adapters.families.family import (
    MANY_IMAGES,
    Config,
    Family,
    Size,
    clip_like,
)

BRIEF = "\nGive a very brief answer."
"""SmolVLM's own short-answer instruction, as VLMEvalKit puts it (vlmeval/vlm/smolvlm.py,
`build_prompt_default`). For multiple choice it puts `prefill=" Answer:"` as well."""


def image_tokens(config: Config, settings: Config) -> ImageTokens | None:
    """One run of placeholders per tile; the last tile is the whole image, made small.

    The image is scaled to `size.longest_edge` and cut into tiles of
    `max_image_size.longest_edge`, by default 2048 and 512 for SmolVLM2: 17 tiles of 64
    tokens (docs/facts/mlx_vlm.md). The few tokens that mark rows, columns and ends
    count as text.
    """
    vision = config.get("vision_config") or {}
    edge = settings.get("max_image_size", {}).get("longest_edge") or vision.get("image_size")
    per_tile = settings.get("image_seq_len")
    if not edge or not per_tile:
        return None
    longest = settings.get("size", {}).get("longest_edge", edge)
    split = settings.get("do_image_splitting", True) and longest > edge
    tiles = ceil(longest / edge) ** 2 + 1 if split else 1
    return ImageTokens(per_tile=per_tile, tile_edge=edge, max_tiles=tiles)


def scaled_edge(most: int, tile: int, longest_edge: int | None) -> int:
    """Pixels that the image's longer side is scaled to under a plan's bound.

    The processor scales every image, small ones up, to `size.longest_edge` (`most`). A
    smaller image alone would save nothing, so the bound is put on that, in whole tiles.
    """
    return most if longest_edge is None else min(most, tile * ceil(longest_edge / tile))


def sizes(
    _config: Config, settings: Config, size: Size, longest_edge: int | None
) -> tuple[int, int]:
    """What an image of this size needs; an upper bound, by a token or two.

    The image is scaled to `size.longest_edge`, then each side up to whole tiles; a tile
    has a marker and its place in front, each row a line end behind (transformers 5.23,
    models/idefics3/image_processing_pil_idefics3.py; mlx_vlm's `_prompt_split_image`).
    """
    edge = int(settings["max_image_size"]["longest_edge"])
    most = scaled_edge(int(settings["size"]["longest_edge"]), edge, longest_edge)
    rows, columns = _grid(size, most, edge) if settings.get("do_image_splitting", True) else (1, 1)
    per_tile = int(settings["image_seq_len"])
    if rows == columns == 1:
        return per_tile + 3, 1
    tiles = rows * columns
    return (tiles + 1) * (per_tile + 2) + rows + 2, tiles + 1


def _grid(size: Size, most: int, edge: int) -> Size:
    """Rows and columns of tiles."""
    width, height = size
    ratio = width / height
    if width >= height:
        width = most
        height = int(width / ratio)
        height += height % 2
    else:
        height = most
        width = int(height * ratio)
        width += width % 2
    width, height = max(width, 1), max(height, 1)
    ratio = width / height
    if width >= height:
        width = ceil(width / edge) * edge
        height = int(width / ratio)
    else:
        height = ceil(height / edge) * edge
        width = int(height * ratio)
    return max(1, ceil(height / edge)), max(1, ceil(width / edge))


def encoder(config: Config) -> tuple[int, int] | None:
    """SigLIP's (heads, positions); configs leave the heads out, 64 wide then.

    mlx_vlm/models/smolvlm/config.py, `VisionConfig`.
    """
    vision = dict(config.get("vision_config") or {})
    vision.setdefault("num_attention_heads", int(vision.get("hidden_size", 1152)) // 64)
    return clip_like({"vision_config": vision})


def _builtin() -> Path:
    from vqa_engine_adapters.builtin import CHECKPOINT

    return CHECKPOINT


SMOLVLM = Family(
    adapter="smolvlm",
    model="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
    model_types=("smolvlm", "idefics3"),
    name="smolvlm",
    images=MANY_IMAGES,
    builtin=_builtin,
    # 507 M parameters in bfloat16; 32 layers with 5 KV heads, 64 wide (its config.json).
    estimate=MemoryProfile(
        weights=1_015_000_000,
        kv_per_token=2 * 32 * 5 * 64 * 2,
        image_tokens=ImageTokens(per_tile=64, tile_edge=512, max_tiles=17),
    ),
    instruction=BRIEF,
    prompt=lambda _config: "<|im_start|>User:<image>{question}<end_of_utterance>\nAssistant:",
    marker="<image>",
    stop=("<end_of_utterance>",),
    cut=("<end_of_utterance>", "\nUser:"),
    image_tokens=image_tokens,
    sizes=sizes,
    encoder=encoder,
)
