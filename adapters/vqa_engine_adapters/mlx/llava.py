"""LLaVA 1.6 on Mistral (`llava_next`) and LLaVA 1.5 (`llava`) on MLX.

mlx-vlm 0.7.10 puts one newline row behind every patch of 1.6, not every row of patches, so
its tiles take twice their patches (models/llava_next/llava_next.py, `get_input_embeddings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from PIL import Image

from vqa_engine.adapter import ImageTokens
from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families import llava
from vqa_engine_adapters.families.family import Config, Size
from vqa_engine_adapters.mlx import encoding
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.tail import after

STRATEGIES = (CacheLimit(512 * 2**20),)
"""The planner narrows the rest where memory asks for it."""


def image_tokens(config: Config, settings: Config) -> ImageTokens:
    """The family's rule with mlx-vlm's own newlines."""
    rule = llava.image_tokens(config, settings)
    return evolve(rule, per_tile=_tile_tokens(config), fixed=0)


def sizes(
    config: Config, settings: Config, size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    """What an image of this size needs: 1.5 always the same, 1.6 by its best grid; exact."""
    tiles = llava.tiles(config, settings, size)
    return _tile_tokens(config) * tiles, tiles


def _tile_tokens(config: Config) -> int:
    return llava.tile_tokens(config) * (2 if config.get("model_type") == "llava_next" else 1)


def pixels(images: Any, image: Image.Image) -> Mapping[str, Any]:
    """All crops with their sizes (1.6), or the one picture (1.5).

    Called as by mlx_vlm/models/llava_next/processing_llava_next.py, `__call__`; 1.5's
    processor has nothing to pad.
    """
    made: Mapping[str, Any] = images([image])
    return made


class _WithoutPadding:
    """An image processor that accepts the tokenizer's `padding` and drops it."""

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

    family = MlxFamily.on(
        evolve(
            llava.LLAVA,
            estimate=evolve(
                llava.LLAVA.estimate, image_tokens=image_tokens({"model_type": "llava_next"}, {})
            ),
        ),
        STRATEGIES,
        weights=4_600_000_000,  # docs/facts/models.md
        adapter="llava_mlx",
        model="mlx-community/llava-v1.6-mistral-7b-4bit",
        image_tokens=image_tokens,
        sizes=sizes,
        mend=mend,
        pixels=pixels,
        tower=encoding.llava,
        tail=after("<image>"),
        branches=True,
    )
