"""Computing a prefix: the image encoded, its keys and values put into a cache to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.loading import Loaded
from vqa_engine_adapters.mlx.prefill import DEFAULT_PREFILL, steps
from vqa_engine_adapters.mlx.preparing import Prepared
from vqa_engine_adapters.mlx.reuse import Prefix

_STEP = 256
"""Positions by which mlx-vlm's caches grow (mlx_vlm/models/cache.py, `KVCache.step`)."""

_AT_ONCE = 8
"""Layers whose buffers are made before the device is waited for: a wait for each of 32 layers
leaves a GPU idle, and all at once would hold a prefix twice."""

_ALONE = {"inputs_embeds"}
"""The only thing that a model's embedding step may give for its prefix to be kept: anything
else (positions, masks, states of cross-attention) belongs to the whole prompt."""


class Unsuited(Exception):
    """This model's prefixes cannot be kept; the text says why."""


def check(loaded: Loaded) -> None:
    """See that a prefix of this model may be computed apart from what follows it.

    Raises:
        Unsuited: attention looks ahead, positions hang on the whole prompt, or the cache
            cannot be cut back.
    """
    from mlx_vlm.generate.common import _chunked_prefill_enabled
    from mlx_vlm.models.cache import make_prompt_cache

    language = loaded.model.language_model
    if any(hasattr(language, name) for name in ("_rope_deltas", "_position_ids")):
        raise Unsuited("its positions hang on the whole prompt")
    cache = make_prompt_cache(language)
    if not _chunked_prefill_enabled(loaded.model, prompt_cache=cache):
        raise Unsuited("its prompt has to be computed in one piece")
    _trimmable(cache)


def _trimmable(cache: list[Any]) -> None:
    """Only the two plain caches: others drop, rotate or share what they were given."""
    from mlx_vlm.models.cache import KVCache, QuantizedKVCache

    for layer in cache:
        if type(layer) not in (KVCache, QuantizedKVCache):
            raise Unsuited(f"its cache is a {type(layer).__name__}, which cannot be cut back")


def split(loaded: Loaded, ids: list[int]) -> int:
    """How many of a prompt's ids reach up to the end of the image.

    Raises:
        Unsuited: none of them is known to be an image's, or nothing follows it.
    """
    end = next((n for n in range(len(ids), 0, -1) if loaded.is_image(ids[n - 1])), 0)
    if not 0 < end < len(ids):
        raise Unsuited("its prompts do not show where the image ends")
    return end


def compute(
    loaded: Loaded,
    prepared: Prepared,
    end: int,
    plan: GenerationPlan,
    meanwhile: Callable[[], None] = lambda: None,
) -> Prefix:
    """The prefix of a prepared prompt, its first `end` ids, ready to be continued.

    `meanwhile` is called once the device encodes the image.

    It is always computed by itself, whether it is kept or not: so a first and a later
    question go through the same arithmetic, and their order cannot change an answer.

    Raises:
        Unsuited: the model makes more of the image than embeddings.
    """
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream
    from mlx_vlm.models.cache import make_prompt_cache

    cache = make_prompt_cache(loaded.model.language_model)
    ids = prepared.ids[:, :end]
    with mx.stream(generation_stream):
        with prepared.encoding():
            embeddings = _embeddings(loaded, prepared, ids)
            meanwhile()
            mx.async_eval(embeddings)  # type: ignore[no-untyped-call]  # in its stubs
            positions = int(embeddings.shape[1])
            if positions > (plan.prefill_step or DEFAULT_PREFILL):
                mx.eval(embeddings)  # all at once they go on into the prefill, with no wait
        prepared.let_go()
        _prefill(loaded, ids, embeddings, cache, plan)
    known = tuple(ids[0].tolist())
    text = sum(not loaded.is_image(token) for token in known)
    return Prefix(
        ids=known, positions=positions, image=positions - text, cache=cache, capacity=0, nbytes=0
    )


def _embeddings(loaded: Loaded, prepared: Prepared, ids: Any) -> Any:
    mask = None if prepared.mask is None else prepared.mask[:, : ids.shape[1]]
    made = loaded.model.get_input_embeddings(
        ids, prepared.pixels, mask=mask, **prepared.rest
    ).to_dict()
    more = sorted(name for name, value in made.items() if value is not None)
    if set(more) != _ALONE:
        raise Unsuited(f"it makes {', '.join(set(more) - _ALONE)} of an image")
    return made["inputs_embeds"]


def _prefill(
    loaded: Loaded, ids: Any, embeddings: Any, cache: list[Any], plan: GenerationPlan
) -> None:
    """Put the embeddings into the cache, a step at a time, as mlx-vlm does.

    Only the cache is evaluated, so no logits are computed
    (mlx_vlm/generate/ar.py, `generate_step`, its prefill loop).
    """
    import mlx.core as mx
    from mlx_vlm.generate.common import maybe_quantize_kv_cache

    for start, stop in steps(int(embeddings.shape[1]), plan.prefill_step):
        loaded.model.language_model(
            inputs=ids[:, start:stop],
            inputs_embeds=embeddings[:, start:stop],
            cache=cache,
            n_to_process=stop - start,
            logits_to_keep=1,
        )
        maybe_quantize_kv_cache(
            cache, quantized_kv_start=0, kv_group_size=loaded.kv_group, kv_bits=plan.kv_bits
        )
        mx.eval([layer.state for layer in cache])
        mx.clear_cache()


def capacity(positions: int) -> int:
    """Positions that a cache's buffers have when so many are in it."""
    return -(-positions // _STEP) * _STEP


def reserve(prefix: Prefix, more: int) -> None:
    """See that `more` positions fit behind the prefix without its buffers growing.

    Buffers that grow would be other buffers after the question than before, and of
    another size. They are made here instead, a few layers at a time, and what the allocator
    counts for them is read off its own counter: a buffer out of its pool may be larger
    than asked for (docs/facts/memory.md, "Pool reuse rule").
    """
    needed = prefix.positions + more
    if needed <= prefix.capacity:
        return
    wanted = capacity(needed)
    prefix.nbytes = sum(
        _remake(prefix.cache[start : start + _AT_ONCE], prefix.positions, wanted)
        for start in range(0, len(prefix.cache), _AT_ONCE)
    )
    prefix.capacity = wanted


def _remake(layers: Sequence[Any], positions: int, capacity: int) -> int:
    """Give some layers' caches buffers of that capacity; the bytes they take."""
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_vlm.generate import generation_stream

    def larger(old: Any) -> Any:
        new = mx.zeros((*old.shape[:2], capacity, old.shape[3]), dtype=old.dtype)
        new[..., :positions, :] = old[..., :positions, :]
        return new

    mx.synchronize(generation_stream)
    before = mx.get_active_memory()
    with mx.stream(generation_stream):
        made = [tree_map(larger, (layer.keys, layer.values)) for layer in layers]
        mx.eval(made)
    mx.synchronize(generation_stream)
    taken = mx.get_active_memory() - before
    for layer, (keys, values) in zip(layers, made, strict=True):
        layer.keys, layer.values = keys, values
    return int(taken)


def rewind(prefix: Prefix) -> None:
    """Forget what followed the prefix."""
    import mlx.core as mx

    for layer in prefix.cache:
        layer.trim(layer.offset - prefix.positions)
    mx.eval([[layer.keys, layer.values] for layer in prefix.cache])
