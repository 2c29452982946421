"""LLaVA 1.5 (`llava`) and 1.6 (`llava_next`) on torch."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.adapter import ImageTokens
from vqa_engine_adapters.checkpoints.family import Config
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.torch.device import STANDING, STEPWISE
from vqa_engine_adapters.torch.driver import TorchAdapter

_EDGE, _PATCH = 336, 14
"""The CLIP tower of every LLaVA 1.5 and 1.6, where a config leaves it unsaid."""


def image_tokens(config: Config, settings: Config) -> ImageTokens:
    """One token per patch and tile; 1.6 cuts the image into tiles and adds a small copy.

    Behind each row of patches of the tiled image stands one newline; `fixed` takes those
    of the tallest grid (transformers/models/llava_next, `pack_image_features`).
    """
    vision = config.get("vision_config") or {}
    edge = vision.get("image_size", _EDGE)
    side = edge // vision.get("patch_size", _PATCH)
    per_tile = side**2 + (config.get("vision_feature_select_strategy", "default") == "full")
    if config.get("model_type") != "llava_next":
        return ImageTokens(per_tile=per_tile, tile_edge=edge)
    grids = settings.get("image_grid_pinpoints") or config.get("image_grid_pinpoints") or ()
    tiles = max(((height // edge) * (width // edge) for height, width in grids), default=4)
    rows = max((height // edge for height, _ in grids), default=2)
    return ImageTokens(per_tile=per_tile, tile_edge=edge, max_tiles=tiles + 1, fixed=rows * side)


class LlavaTorch(TorchAdapter):
    """LLaVA on torch; the default is LLaVA 1.6 on Mistral-7B, 15 GB in halves."""

    family = evolve(
        LlavaMlx.family,
        adapter="llava_torch",
        model="llava-hf/llava-v1.6-mistral-7b-hf",
        image_tokens=image_tokens,
        mend=None,
        strategies=STANDING,
        # 7.57 B parameters in two bytes each; KV from shared/facts/memory.md, "Prediction".
        estimate=evolve(
            LlavaMlx.family.estimate,
            backend="torch",
            levers=STEPWISE,
            weights=15_130_000_000,
            image_tokens=image_tokens({"model_type": "llava_next"}, {}),
            strategies=STANDING,
        ),
    )
