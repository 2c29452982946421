"""LLaVA 1.6 on Mistral (`llava_next`) and LLaVA 1.5 (`llava`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_engine.adapter import ImageTokens, MemoryProfile
from vqa_engine_adapters.families.family import WORD_OR_PHRASE, Config, Family, Size

EDGE, _PATCH = 336, 14
"""CLIP ViT-L/14-336, what a config means that says nothing of its vision tower."""


_PUBLISHED = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
"""Rows and columns of the grids in the published configs, `image_grid_pinpoints`."""

_YI = 64064
"""The vocabulary of LLaVA 1.6 on Nous-Hermes-2-Yi-34B."""


def image_tokens(config: Config, settings: Config) -> ImageTokens:
    """One token per patch and tile; 1.6 cuts the image into tiles and adds a small copy.

    Each row of patches of the tiled image ends with a newline token; `fixed` counts those
    of the tallest grid (transformers/models/llava_next, `pack_image_features`).
    """
    edge, patches = tile_edge(config), _tile_tokens(config)
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


def complete(config: Config) -> Config:
    """The config with what its text part means by silence.

    The published text parts name only what differs from the language model's own defaults.
    Those are of Llama 7B (transformers 5.23, `LlamaConfig`), and for Mistral of
    Mistral-7B-Instruct-v0.2, on which LLaVA 1.6 was built.
    mlx-vlm 0.7.10 has Mistral's for both (models/llava_next/config.py; docs/upstream.md).
    """
    text: dict[str, Any] = dict(config.get("text_config") or {})
    defaults = _TEXT.get(text.get("model_type", "llama"), {})
    whole = {**defaults, **text}
    if whole.get("num_key_value_heads") is None and "num_attention_heads" in whole:
        whole["num_key_value_heads"] = whole["num_attention_heads"]
    return {**config, "text_config": whole}


_SEVEN = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
_TEXT: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama",
        **_SEVEN,
        "intermediate_size": 11008,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
    },
    "mistral": {
        **_SEVEN,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
    },
}


def tile_edge(config: Config) -> int:
    """Pixels of a tile's side."""
    return int((config.get("vision_config") or {}).get("image_size", EDGE))


def _tile_tokens(config: Config) -> int:
    """Tokens of one tile: its patches, and the class token where the config keeps it."""
    patches = (tile_edge(config) // _patch(config)) ** 2
    return patches + int(config.get("vision_feature_select_strategy", "default") == "full")


def sizes(
    config: Config, settings: Config, size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    """What an image of this size needs; exact. 1.5 always the same, 1.6 by its best grid.

    In 1.6 the small copy of the image comes first, then the rows of patches of the tiled
    one, less those of its padding, each row with a newline token behind
    (transformers/models/llava_next, `_get_unpadded_features`).
    """
    if config.get("model_type") != "llava_next":
        return _tile_tokens(config), 1
    edge, side = tile_edge(config), tile_edge(config) // _patch(config)
    height, width = best_grid(size, _grids(config, settings))
    grid = height // edge, width // edge
    top, left = padding((grid[0] * side, grid[1] * side), size)
    rows, columns = grid[0] * side - 2 * top, grid[1] * side - 2 * left
    return _tile_tokens(config) + rows * (columns + 1), grid[0] * grid[1] + 1


def padding(patches: tuple[int, int], size: Size) -> tuple[int, int]:
    """Rows of patches above (and below) and columns left (and right) that show no image.

    `patches` are (rows, columns) of the grid that an image of this size was padded to
    (transformers 5.23, models/llava_next, `unpad_image`).
    """
    (rows, columns), (width, height) = patches, size
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2


def _patch(config: Config) -> int:
    return int((config.get("vision_config") or {}).get("patch_size", _PATCH))


def _grids(config: Config, settings: Config) -> list[Size]:
    """The (height, width) in pixels of the grids to choose from; LLaVA 1.6's if unknown."""
    found = settings.get("image_grid_pinpoints") or config.get("image_grid_pinpoints") or ()
    edge = tile_edge(config)
    return [(height, width) for height, width in found] or [
        (rows * edge, columns * edge) for rows, columns in _PUBLISHED
    ]


def best_grid(size: Size, grids: Sequence[Size]) -> Size:
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
    """The prompt a conversion lost: Mistral's, ChatML for 1.6 on Yi-34B, else Vicuna's.

    Without it the model goes on with the user's part and looks corrupted
    (docs/facts/models.md). The 34B has a vocabulary of its own.
    """
    text: dict[str, Any] = config.get("text_config") or {}
    if text.get("model_type") == "mistral":
        return "[INST] <image>\n{question} [/INST]"
    if text.get("vocab_size") == _YI:
        return "<|im_start|>user\n<image>\n{question}<|im_end|>\n<|im_start|>assistant\n"
    return "USER: <image>\n{question} ASSISTANT:"


LLAVA = Family(
    adapter="llava",
    model="llava-hf/llava-v1.6-mistral-7b-hf",
    model_types=("llava_next", "llava"),
    name="llava",
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
    sizes=sizes,
    complete=complete,
)
