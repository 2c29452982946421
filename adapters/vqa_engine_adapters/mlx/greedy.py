"""Greedy answers behind a computed prefix, with no pass through the model that nobody needs.

`generate_step` computes the last token of a prompt in a pass of its own, and a token beyond the
last one that is asked for (mlx_vlm/generate/ar.py). An image that is computed apart from its
question takes a pass more than the plain loop; without those two, it takes one less.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.device import on_gpu
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import steps
from vqa_engine_adapters.swapping import swapped

_HEAD = "lm_head"


def continued(
    loaded: Loaded, suffix: Sequence[int], plan: GenerationPlan, cache: list[Any]
) -> Generator[tuple[Any, Any], None, None]:
    """The likeliest tokens after a cache and a suffix, each with the logits of its place."""
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    # On a CPU there is nothing to hide, and the token after the end would be a pass for nothing.
    model, ahead = loaded.model.language_model, on_gpu()

    def after(ids: Any) -> tuple[Any, Any]:
        with mx.stream(generation_stream):
            logits = model(inputs=ids, cache=cache).logits[0, -1]
            token = mx.argmax(logits - mx.logsumexp(logits))
            mx.async_eval(token, logits)  # type: ignore[no-untyped-call]  # in its stubs
        return token, logits

    with mx.stream(generation_stream), last_places(model, 1):
        found = after(_prefilled(model, suffix, plan, cache))
    for _ in range(plan.max_tokens - 1):
        following = after(found[0].reshape(1, 1)) if ahead else None
        yield found
        found = following or after(found[0].reshape(1, 1))
    yield found


def _prefilled(model: Any, suffix: Sequence[int], plan: GenerationPlan, cache: list[Any]) -> Any:
    """Put all but the last step of the suffix into the cache; the ids that are left."""
    import mlx.core as mx

    # Where the head cannot be kept to one place, the last token goes through by itself.
    whole = len(suffix) if has_head(model) else len(suffix) - 1
    *before, last = steps(whole, plan.prefill_step)
    ids = mx.array([list(suffix)])
    if whole < len(suffix):
        before, last = [*before, last], (whole, len(suffix))
    for start, stop in before:
        model(inputs=ids[:, start:stop], cache=cache)
        mx.eval([layer.state for layer in cache])
        mx.clear_cache()
    return ids[:, last[0] : last[1]]


def has_head(model: Any) -> bool:
    """Whether a language model's head is a part of its own, which can be kept to a few places."""
    return hasattr(model, _HEAD)


def last_places(model: Any, count: int) -> AbstractContextManager[None]:
    """Have the model compute the logits of its last places only while the block runs.

    A vocabulary is wide: in a small model the logits of twenty places cost more than the rest.
    """
    if not has_head(model):
        return nullcontext()
    head = getattr(model, _HEAD)
    return swapped(model, _HEAD, lambda states: head(states[:, -count:]))
