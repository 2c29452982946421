"""SmolVLM and SmolVLM2, and the Idefics3 models that they descend from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import ceil
from pathlib import Path
from typing import Any

from PIL import Image

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine.memory.strategies import CacheLimit, EncoderBatch, PrefillStep
from vqa_engine_adapters.checkpoints.family import Config, Family, clip_like
from vqa_engine_adapters.mlx import encoding, sizes
from vqa_engine_adapters.mlx.bounding import lent
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.tail import after

STRATEGIES = (CacheLimit(256 * 2**20), PrefillStep(256), EncoderBatch(encoding.BATCH))
"""A split image makes prompts of over 1,000 tokens in many lengths: both bounds matter."""


def image_tokens(config: Config, settings: Config) -> ImageTokens | None:
    """One run of placeholders per tile; the last tile is the whole image, made small.

    The image is scaled to `size.longest_edge` and cut into tiles of
    `max_image_size.longest_edge`, by default 2048 and 512 for SmolVLM2: 17 tiles of 64
    tokens (shared/facts/mlx_vlm.md). The few tokens that mark rows, columns and ends
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


def pixels(images: Any, image: Image.Image) -> Mapping[str, Any]:
    """All tiles, and in how many rows and columns they lie.

    Called as by mlx_vlm/models/smolvlm/processing_smolvlm.py, `__call__`.
    """
    made: Mapping[str, Any] = images([[image]], return_row_col_info=True)
    return made


def fewer_tiles(images: Any, longest_edge: int) -> AbstractContextManager[None]:
    """Scale an image to no more tiles than an edge of this length fills.

    The processor scales every image, small ones up, to `size.longest_edge`; so a smaller
    image alone would save nothing.
    """
    tile = images.max_image_size["longest_edge"]
    edge = min(images.size["longest_edge"], tile * ceil(longest_edge / tile))
    return lent(images, "size", {"longest_edge": edge})


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


class SmolVlm(MlxAdapter):
    """SmolVLM on MLX; the default is SmolVLM2 with half a billion parameters."""

    family = Family(
        adapter="smolvlm",
        model="mlx-community/SmolVLM2-500M-Video-Instruct-mlx",
        model_types=("smolvlm", "idefics3"),
        instruction="\nGive a very brief answer.",
        stop=("<end_of_utterance>",),
        cut=("<end_of_utterance>", "\nUser:"),
        prompt=lambda _config: "<|im_start|>User:<image>{question}<end_of_utterance>\nAssistant:",
        image_tokens=image_tokens,
        sizes=sizes.idefics3,
        tower=encoding.idefics3,
        encoder=encoder,
        marker="<image>",
        pixels=pixels,
        narrow=fewer_tiles,
        tail=after("<image><fake_token_around_image>"),
        branches=True,
        strategies=STRATEGIES,
        # 507 M parameters in bfloat16; 32 layers with 5 KV heads, 64 wide
        # (config.json of the default checkpoint's source, HuggingFaceTB/SmolVLM2-500M).
        estimate=MemoryProfile(
            backend="mlx",
            weights=1_015_000_000,
            kv_per_token=2 * 32 * 5 * 64 * 2,
            image_tokens=ImageTokens(per_tile=64, tile_edge=512, max_tiles=17),
            strategies=STRATEGIES,
        ),
        builtin=_builtin,
    )
