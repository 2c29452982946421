"""InternVL as published: the checkpoint's own chat template, and as many tiles as its code cuts.

mlx-vlm 0.7.10 gives the processor a template of its own, "User: " and "Assistant: ", which the
model was not trained with. Where two grids of tiles are equally near to a picture's proportions
it has another rule than InternVL's code, `find_closest_aspect_ratio`, and than transformers
(5.23, models/got_ocr2, `get_optimal_tiled_canvas`); both are in
models/internvl_chat/processor.py (docs/upstream.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vqa_engine_adapters.families.family import Config

_Grid = tuple[int, int]
"""Columns and rows of tiles."""


def as_published(_model: Any, processor: Any, _settings: Config) -> None:
    """Cut a picture into the right number of tiles, and use a template that renders an image."""
    from mlx_vlm.models.internvl_chat import processor as module

    module.find_closest_aspect_ratio = _nearest
    own = processor.tokenizer.chat_template
    if own and "<image>" in own:
        processor.chat_template = own


def _nearest(
    proportions: float, grids: Sequence[_Grid], width: int, height: int, edge: int
) -> _Grid:
    """The grid nearest to a picture's proportions.

    Of several it is the largest of which the picture covers more than half, else the first.
    """
    away = [abs(proportions - columns / rows) for columns, rows in grids]
    first, *more = (grid for grid, far in zip(grids, away, strict=True) if far == min(away))
    covered = [grid for grid in more if width * height > 0.5 * edge * edge * grid[0] * grid[1]]
    return covered[-1] if covered else first
