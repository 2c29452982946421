"""LLaVA 1.6 on Mistral (`llava_next`) and LLaVA 1.5 (`llava`)."""

from __future__ import annotations

from typing import Any

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine_adapters.families.family import WORD_OR_PHRASE, Config, Family, Size

EDGE, _PATCH = 336, 14
"""CLIP ViT-L/14-336, what a config means that says nothing of its vision tower."""


def image_tokens(config: Config, settings: Config) -> ImageTokens:
    """One token per patch and tile; 1.6 cuts the image into tiles and adds a small copy.

    Each row of patches of the tiled image ends with a newline token; `fixed` counts those
    of the tallest grid (transformers/models/llava_next, `pack_image_features`).
    """
    edge, patches = tile_edge(config), tile_tokens(config)
    if config.get("model_type") != "llava_next":
        return ImageTokens(per_tile=patches, tile_edge=edge)
    grids = _grids(config, settings)
    rows = max(height // edge for height, _ in grids)
    return ImageTokens(
        per_tile=patches,
        tile_edge=edge,
        max_tiles=max((height // edge) * (width // edge) for height, width in grids) + 1,
        fixed=rows * (edge // _patch(config)),
    )


def tile_edge(config: Config) -> int:
    """Pixels of a tile's side."""
    return int((config.get("vision_config") or {}).get("image_size", EDGE))


def tile_tokens(config: Config) -> int:
    """Tokens of one tile: its patches, and the class token where the config keeps it."""
    patches = (tile_edge(config) // _patch(config)) ** 2
    return patches + int(config.get("vision_feature_select_strategy", "default") == "full")


def tiles(config: Config, settings: Config, size: Size) -> int:
    """Tiles of an image of this size, its small copy included: 1.6 picks the best grid."""
    if config.get("model_type") != "llava_next":
        return 1
    edge = tile_edge(config)
    height, width = _best(size, _grids(config, settings))
    return (height // edge) * (width // edge) + 1


def _patch(config: Config) -> int:
    return int((config.get("vision_config") or {}).get("patch_size", _PATCH))


def _grids(config: Config, settings: Config) -> list[Size]:
    """The (height, width) in pixels of the grids to choose from; two by two if unknown."""
    found = settings.get("image_grid_pinpoints") or config.get("image_grid_pinpoints") or ()
    edge = tile_edge(config)
    return [(height, width) for height, width in found] or [(2 * edge, 2 * edge)]


def _best(size: Size, grids: list[Size]) -> Size:
    """The (height, width) that keeps most of the image, then wastes least.

    transformers 5.23, image_processing_utils.py, `select_best_resolution`.
    """
    width, height = size

    def merit(grid: Size) -> tuple[int, int]:
        scale = min(grid[1] / width, grid[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - grid[0] * grid[1]

    return max(grids, key=merit)


def prompt(config: Config) -> str:
    """The prompt a conversion lost: Mistral's for 1.6 on Mistral, Vicuna's for the others.

    Without it the model goes on with the user's part and looks corrupted
    (docs/facts/models.md).
    """
    text: dict[str, Any] = config.get("text_config") or {}
    if text.get("model_type") == "mistral":
        return "[INST] <image>\n{question} [/INST]"
    return "USER: <image>\n{question} ASSISTANT:"


LLAVA = Family(
    adapter="llava",
    model="llava-hf/llava-v1.6-mistral-7b-hf",
    model_types=("llava_next", "llava"),
    # 7.57 B parameters in two bytes each; KV from docs/facts/memory.md, "Prediction".
    estimate=MemoryProfile(
        weights=15_130_000_000,
        kv_per_token=128 * 2**10,
        image_tokens=image_tokens({"model_type": "llava_next"}, {}),
    ),
    instruction=WORD_OR_PHRASE,
    prompt=prompt,
    marker="<image>",
    cut=("[INST]", "USER:", "ASSISTANT:"),
    image_tokens=image_tokens,
)
