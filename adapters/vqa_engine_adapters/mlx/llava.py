"""LLaVA 1.6 on Mistral (`llava_next`) and LLaVA 1.5 (`llava`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine.memory.strategies import CacheLimit, EncoderBatch, PrefillStep
from vqa_engine_adapters.checkpoints.family import Config, Family
from vqa_engine_adapters.mlx import encoding, sizes
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.tail import after

STRATEGIES = (CacheLimit(512 * 2**20), PrefillStep(256), EncoderBatch(encoding.BATCH))
"""An image is 576 tokens in 1.5 and several thousand in 1.6: the prefill sets the peak."""

_EDGE, _PATCH = 336, 14
"""CLIP ViT-L/14-336, what a config means that says nothing of its vision tower."""


def image_tokens(config: Config, settings: Config) -> ImageTokens:
    """One token per patch and tile; 1.6 cuts the image into tiles and adds a small copy.

    mlx-vlm 0.7.10 puts one newline row behind every patch of 1.6, not every row of
    patches, so its tiles take twice their patches (models/llava_next/llava_next.py,
    `get_input_embeddings`).
    """
    vision = config.get("vision_config") or {}
    edge = vision.get("image_size", _EDGE)
    per_tile = (edge // vision.get("patch_size", _PATCH)) ** 2
    if config.get("vision_feature_select_strategy", "default") == "full":
        per_tile += 1  # the class token stays
    if config.get("model_type") != "llava_next":
        return ImageTokens(per_tile=per_tile, tile_edge=edge)
    grids = settings.get("image_grid_pinpoints") or config.get("image_grid_pinpoints") or ()
    tiles = max(((height // edge) * (width // edge) for height, width in grids), default=4)
    return ImageTokens(per_tile=2 * per_tile, tile_edge=edge, max_tiles=tiles + 1)


def prompt(config: Config) -> str:
    """The prompt a conversion lost: Mistral's for 1.6 on Mistral, Vicuna's for the others.

    Without it the model goes on with the user's part and looks corrupted
    (shared/facts/models.md).
    """
    text = config.get("text_config") or {}
    if text.get("model_type") == "mistral":
        return "[INST] <image>\n{question} [/INST]"
    return "USER: <image>\n{question} ASSISTANT:"


def pixels(images: Any, image: Image.Image) -> Mapping[str, Any]:
    """All crops with their sizes (1.6), or the one picture (1.5).

    Called as by mlx_vlm/models/llava_next/processing_llava_next.py, `__call__`; 1.5's
    processor has nothing to pad.
    """
    made: Mapping[str, Any] = images([image])
    return made


class _WithoutPadding:
    """An image processor that takes the tokenizer's `padding` and drops it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, images: Any, padding: object = None, **options: Any) -> Any:
        return self._inner(images, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def mend(processor: Any) -> None:
    """Make LLaVA 1.5's processor of mlx-vlm 0.7.10 work with transformers 5.

    It hands `padding` on to the image processor (models/llava/processing_llava.py,
    `__call__`), and transformers refuses arguments it does not know.
    """
    if type(processor).__name__ == "LlavaProcessor":
        processor.image_processor = _WithoutPadding(processor.image_processor)


class LlavaMlx(MlxAdapter):
    """LLaVA on MLX; the default is LLaVA 1.6 on Mistral-7B in 4 bits."""

    family = Family(
        adapter="llava_mlx",
        model="mlx-community/llava-v1.6-mistral-7b-4bit",
        model_types=("llava_next", "llava"),
        instruction="\nAnswer the question using a single word or phrase.",
        cut=("[INST]", "USER:", "ASSISTANT:"),
        prompt=prompt,
        image_tokens=image_tokens,
        sizes=sizes.llava,
        tower=encoding.llava,
        marker="<image>",
        pixels=pixels,
        tail=after("<image>"),
        branches=True,
        mend=mend,
        strategies=STRATEGIES,
        # shared/facts/models.md and memory.md, "Prediction".
        estimate=MemoryProfile(
            backend="mlx",
            weights=4_600_000_000,
            kv_per_token=128 * 2**10,
            image_tokens=ImageTokens(per_tile=2 * 576, tile_edge=_EDGE, max_tiles=5),
            strategies=STRATEGIES,
        ),
    )
