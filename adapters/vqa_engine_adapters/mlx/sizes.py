"""What an image of a given size is cut into, told from the processors' settings alone.

Each function repeats the arithmetic of one processor without touching a pixel, and gives
(tokens without the prompt's text, tiles for the vision encoder).
"""

from __future__ import annotations

from math import ceil
from typing import Any

from vqa_engine_adapters.checkpoints.family import Config

Size = tuple[int, int]
"""Width and height in pixels."""

CROP = 336
"""Pixels; the side of a Phi crop (mlx_vlm/models/phi3_v/processing_phi3_v.py)."""


def idefics3(
    _config: Config, settings: Config, size: Size, longest_edge: int | None
) -> tuple[int, int]:
    """SmolVLM and Idefics3: an upper bound, by a token or two.

    The image is scaled to `size.longest_edge`, then each side up to whole tiles; a tile
    has a marker and its place in front, each row a line end behind (transformers 5.23,
    models/idefics3/image_processing_pil_idefics3.py; mlx_vlm's `_prompt_split_image`).
    """
    edge = int(settings["max_image_size"]["longest_edge"])
    most = int(settings["size"]["longest_edge"])
    if longest_edge is not None:
        most = min(most, edge * ceil(longest_edge / edge))
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


def llava(
    config: Config, settings: Config, size: Size, _longest_edge: int | None
) -> tuple[int, int]:
    """LLaVA: 1.5 always the same, 1.6 by the best of its grids; exact.

    1.6's figure is mlx-vlm's, which takes two places per patch
    (`vqa_engine_adapters.mlx.llava.image_tokens`).
    """
    vision = config.get("vision_config") or {}
    edge = int(vision.get("image_size", CROP))
    per_tile = (edge // int(vision.get("patch_size", 14))) ** 2
    per_tile += config.get("vision_feature_select_strategy", "default") == "full"
    if config.get("model_type") != "llava_next":
        return per_tile, 1
    grids = settings.get("image_grid_pinpoints") or config.get("image_grid_pinpoints") or ()
    height, width = _best(size, [tuple(grid) for grid in grids] or [(2 * edge, 2 * edge)])
    tiles = (height // edge) * (width // edge) + 1
    return 2 * per_tile * tiles, tiles


def _best(size: Size, grids: list[Any]) -> tuple[int, int]:
    """The (height, width) that keeps most of the image, then wastes least.

    transformers 5.23, image_processing_utils.py, `select_best_resolution`.
    """
    width, height = size

    def merit(grid: tuple[int, int]) -> tuple[int, int]:
        scale = min(grid[1] / width, grid[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - grid[0] * grid[1]

    best: tuple[int, int] = max(grids, key=merit)
    return best


def phi(_config: Config, settings: Config, size: Size, longest_edge: int | None) -> tuple[int, int]:
    """Phi-3.5-vision: exact (mlx_vlm/models/phi3_v/processing_phi3_v.py).

    As many crops as `num_crops` allows, whatever the image's size.
    """
    crops = int(settings.get("num_crops", 4))
    if longest_edge is not None:
        crops = min(crops, ceil(longest_edge / CROP) ** 2)
    long, short = max(size), min(size)
    ratio = long / short
    scale = max(n for n in range(1, crops + 1) if n * ceil(n / ratio) <= crops)
    columns, rows = scale, ceil(int(scale * CROP / ratio) / CROP)
    if size[0] < size[1]:
        columns, rows = rows, columns
    tiles = rows * columns + 1
    return tiles * 144 + 1 + (rows + 1) * 12, tiles
