"""What logits say: the likeliest token, and how likely a token is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def chosen(logits: Any) -> Any:
    """The likeliest token of each row, found as mlx_vlm/generate/ar.py does at temperature 0."""
    import mlx.core as mx

    return mx.argmax(logits - mx.logsumexp(logits, axis=-1, keepdims=True), axis=-1)


def logprobs(logits: Any, wanted: Sequence[tuple[int, int]]) -> list[float]:
    """The log-probability of each (row, token), in float32 whatever the model computes in."""
    import mlx.core as mx

    wide = logits.astype(mx.float32)
    rows, tokens = mx.array([row for row, _ in wanted]), mx.array([token for _, token in wanted])
    found: Any = (wide[rows, tokens] - mx.logsumexp(wide, axis=-1)[rows]).tolist()
    return list(found)
