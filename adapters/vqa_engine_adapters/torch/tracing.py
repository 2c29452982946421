"""What a model on torch is given for one question, shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from vqa_engine.adapter import GenerationPlan, Trace
from vqa_engine.images import bounded
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.preparing import processed
from vqa_engine_adapters.tracing import CHOICES, first_and_count, spread


def trace(
    loaded: Loaded, prompt: str, images: Sequence[Image.Image], longest_edge: int | None
) -> Trace:
    """The prompt prepared afresh and computed in one piece, whatever is kept of it."""
    images = [bounded(image, longest_edge) for image in images]
    inputs = processed(loaded, prompt, images, longest_edge)
    ids = inputs["input_ids"][0].tolist()
    pixels = inputs.get("pixel_values")
    return Trace(
        prompt=prompt,
        prompt_ids=tuple(ids),
        image_size=images[0].size,
        pixel_shape=() if pixels is None else tuple(pixels.shape),
        pixels=() if pixels is None else spread(pixels.float().numpy()),
        image_positions=first_and_count([token == loaded.image_token for token in ids]),
        first=_first(loaded, inputs),
    )


def _first(loaded: Loaded, inputs: dict[str, Any]) -> tuple[tuple[int, float], ...]:
    """The likeliest first tokens, with their log-probabilities."""
    import torch

    loaded.bound(GenerationPlan())
    with torch.inference_mode():
        logits = loaded.model(**_moved(loaded, inputs)).logits[0, -1]
        best = logits.float().log_softmax(-1).topk(CHOICES)
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _moved(loaded: Loaded, inputs: dict[str, Any]) -> dict[str, Any]:
    """On the device, floats in the model's precision."""
    return {
        name: value.to(loaded.device, loaded.model.dtype)
        if value.is_floating_point()
        else value.to(loaded.device)
        for name, value in inputs.items()
        if hasattr(value, "is_floating_point")
    }
