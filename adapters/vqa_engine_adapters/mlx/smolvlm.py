"""SmolVLM, SmolVLM2 and Idefics3 on MLX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from PIL import Image

from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families.smolvlm import SMOLVLM, scaled_edge
from vqa_engine_adapters.mlx import encoding
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.positions import exact
from vqa_engine_adapters.mlx.tail import after
from vqa_engine_adapters.swapping import swapped

STRATEGIES = (CacheLimit(256 * 2**20),)
"""A split image makes prompts of over 1,000 tokens in many lengths, so the pool is bounded;
the planner narrows the rest where memory asks for it."""


def pixels(images: Any, pictures: Sequence[Image.Image]) -> Mapping[str, Any]:
    """All tiles, and in how many rows and columns those of each picture lie.

    Called as by mlx_vlm/models/smolvlm/processing_smolvlm.py, `__call__`.
    """
    made: Mapping[str, Any] = images([list(pictures)], return_row_col_info=True)
    return made


def fewer_tiles(images: Any, longest_edge: int) -> AbstractContextManager[None]:
    """Scale an image to no more tiles than an edge of this length fills."""
    most, tile = images.size["longest_edge"], images.max_image_size["longest_edge"]
    return swapped(images, "size", {"longest_edge": scaled_edge(most, tile, longest_edge)})


class SmolVlm(MlxAdapter):
    """SmolVLM on MLX; the default is SmolVLM2 with half a billion parameters."""

    family = MlxFamily.on(
        SMOLVLM,
        STRATEGIES,
        weights=1_015_000_000,
        model="mlx-community/SmolVLM2-500M-Video-Instruct-mlx",
        mend=exact,
        pixels=pixels,
        narrow=fewer_tiles,
        tower=encoding.idefics3,
        tail=after("<image><fake_token_around_image>"),
        branches=True,
    )
