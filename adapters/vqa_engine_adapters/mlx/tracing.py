"""What a model on MLX is given for one question, shown."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from vqa_engine.adapter import GenerationPlan, Trace
from vqa_engine_adapters.mlx.generation import scored
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.preparing import Prepared
from vqa_engine_adapters.mlx.readying import Readying
from vqa_engine_adapters.tracing import CHOICES, first_and_count, spread


def trace(
    loaded: Loaded, readying: Readying, prompt: str, picture: Picture, plan: GenerationPlan
) -> Trace:
    """The prompt prepared afresh and computed in one piece, whatever is kept of it."""
    import numpy as np

    prepared, pixels = readying.whole(prompt, picture, plan)
    ids = tuple(prepared.ids[0].tolist())
    values = np.array(prepared.pixels) if pixels is None else pixels.values
    return Trace(
        prompt=prompt,
        prompt_ids=ids,
        image_size=picture.image.size,
        pixel_shape=tuple(values.shape),
        pixels=spread(values),
        image_positions=first_and_count([loaded.is_image(token) for token in ids]),
        first=_first(loaded, prepared, plan),
    )


def _first(
    loaded: Loaded, prepared: Prepared, plan: GenerationPlan
) -> tuple[tuple[int, float], ...]:
    """The likeliest first tokens of a prepared question, with their log-probabilities."""
    import mlx.core as mx
    from mlx_vlm.models.cache import make_prompt_cache

    cache = make_prompt_cache(loaded.model.language_model)
    with prepared.encoding(), closing(scored(loaded, prepared, plan, cache)) as steps:
        _, scores = next(steps)
        scores = scores.reshape(-1).astype(mx.float32)
        order: Any = mx.argsort(-scores)[:CHOICES].tolist()
        return tuple((int(token), scores[token].item()) for token in order)
