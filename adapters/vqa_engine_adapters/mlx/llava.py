"""LLaVA 1.6 (`llava_next`) and LLaVA 1.5 (`llava`) on MLX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families.family import Config
from vqa_engine_adapters.families.llava import LLAVA
from vqa_engine_adapters.mlx import encoding
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.packing import pack
from vqa_engine_adapters.mlx.tail import after

STRATEGIES = (CacheLimit(512 * 2**20),)
"""The planner narrows the rest where memory asks for it."""


def pixels(images: Any, pictures: Sequence[Image.Image]) -> Mapping[str, Any]:
    """All crops with their sizes (1.6), or the one picture (1.5).

    Called as by mlx_vlm/models/llava_next/processing_llava_next.py, `__call__`; 1.5's
    processor has nothing to pad.
    """
    made: Mapping[str, Any] = images(list(pictures))
    return made


class _WithoutPadding:
    """An image processor that accepts the tokenizer's `padding` and drops it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, images: Any, padding: object = None, **options: Any) -> Any:
        return self._inner(images, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def mend(model: Any, processor: Any, _settings: Config) -> None:
    """Correct mlx-vlm 0.7.10 and what a conversion left out (docs/upstream.md).

    1.6 gets its tiles packed. 1.5's processor hands `padding` on to the image processor
    (models/llava/processing_llava.py, `__call__`), and transformers 5 refuses arguments it
    does not know.
    """
    complete(model.config, processor)
    if model.config.model_type == "llava_next":
        pack(model, processor)
    else:
        processor.image_processor = _WithoutPadding(processor.image_processor)


def complete(config: Any, processor: Any) -> None:
    """Give a processor what a missing or partial processor_config.json does not say.

    Conversions of 2024 have no such file, and some that were repaired later lack the count
    of additional tokens: one for the class token of CLIP
    (docs/facts/published_checkpoints.md, A4).
    """
    if processor.patch_size is None:
        processor.patch_size = config.vision_config.patch_size
    if processor.vision_feature_select_strategy is None:
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
    if config.vision_config.model_type == "clip_vision_model":
        processor.num_additional_image_tokens = 1


class LlavaMlx(MlxAdapter):
    """LLaVA on MLX; the default is LLaVA 1.6 on Mistral-7B in 4 bits."""

    family = MlxFamily.on(
        LLAVA,
        STRATEGIES,
        # As published, vision tower quantised too (docs/facts/published_checkpoints.md, C).
        weights=4_258_000_000,
        adapter="llava_mlx",
        model="mlx-community/llava-v1.6-mistral-7b-4bit",
        mend=mend,
        pixels=pixels,
        tower=encoding.llava,
        tail=after("<image>"),
        branches=True,
    )
