"""What a model on MLX is given for one question, shown."""

from __future__ import annotations

from vqa_engine.adapter import GenerationPlan, Trace
from vqa_engine_adapters.mlx.answering import Answering
from vqa_engine_adapters.mlx.generation import first_choices, is_image
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.tracing import first_and_count, spread


def trace(
    loaded: Loaded, answering: Answering, prompt: str, picture: Picture, plan: GenerationPlan
) -> Trace:
    """The prompt prepared afresh and computed in one piece, whatever is kept of it."""
    import numpy as np

    prepared, pixels = answering.whole(prompt, picture, plan)
    ids = tuple(prepared.ids[0].tolist())
    values = np.array(prepared.pixels) if pixels is None else pixels.values
    return Trace(
        prompt=prompt,
        prompt_ids=ids,
        image_size=picture.image.size,
        pixel_shape=tuple(values.shape),
        pixels=spread(values),
        image_positions=first_and_count([is_image(loaded, token) for token in ids]),
        first=first_choices(loaded, prepared, plan),
    )
