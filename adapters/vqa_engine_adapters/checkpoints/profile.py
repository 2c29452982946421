"""A checkpoint's memory profile, from its headers and configuration alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from attrs import evolve

from vqa_engine.adapter import ImageTokens, Lever, MemoryProfile
from vqa_engine.adapter.memory import bounded
from vqa_engine_adapters.checkpoints.checkpoint import Description
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.families.family import Config, Family

_NOT_LANGUAGE = re.compile(r"visi|visual|img|image|audio|connector|perceiver|resampler|projector")
_SEPARATE = re.compile(r"layers\.\d+\..*\b[kv]_proj\.weight$")
_FUSED = re.compile(r"layers\.\d+\..*\bqkv_proj\.weight$")

_NORM = re.compile(r"layers\.\d+\.input_layernorm\.weight$")
_GATE = re.compile(r"layers\.\d+\.mlp\.gate_proj\.weight$")
_GATE_AND_UP = re.compile(r"layers\.\d+\.mlp\.gate_up_proj\.weight$")
_QUERIES = re.compile(r"layers\.\d+\..*\bq_proj\.weight$")
_QUERY_NORM = re.compile(r"layers\.\d+\..*\bq_norm\.weight$")

_USUAL_HEAD = 128
"""Numbers in a head of Llama, Mistral, Qwen and most others."""

_HALF = 2
"""Bytes of a float16 or bfloat16, what a KV cache holds unless the weights are wider."""


def profile(family: Family, checkpoint: Description) -> MemoryProfile:
    """What the checkpoint needs: exact for weights and KV, an upper bound for images."""
    config, tensors = family.complete(checkpoint.config), checkpoint.tensors
    image = family.image_tokens(config, checkpoint.settings)
    return evolve(
        family.estimate,
        weights=sum(tensor.nbytes for tensor in tensors.values()),
        kv_per_token=kv_per_token(tensors, config),
        image_tokens=image,
        levers=levers(family.estimate.levers, image),
        attention_per_pair=attention_per_pair(tensors, config),
        activations_per_token=activations_per_token(tensors, config),
        per_tile=per_tile(family, tensors, config),
        image_longest_edge=family.longest_edge,
        exact=True,
    )


def levers(
    obeyed: Iterable[Lever] | Mapping[Lever, int], image: ImageTokens | None
) -> dict[Lever, int]:
    """The levers of a model whose tiles have this edge: an image below one saves nothing."""
    found = dict(bounded(obeyed))
    if image is not None and image.unbounded is None and "image_longest_edge" in found:
        found["image_longest_edge"] = image.tile_edge
    return found


def without(profile: MemoryProfile, lever: Lever) -> MemoryProfile:
    """The profile of a model that does not obey a lever after all."""
    left = {name: least for name, least in profile.levers.items() if name != lever}
    return evolve(profile, levers=left)


def kv_per_token(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes that one token adds to the KV cache, None where the headers do not say.

    A key or value projection has as many rows as it writes numbers per token, quantised
    or not. So the headers give the figure for every layer, whatever defaults the
    config leaves unsaid. The result agrees with the table in docs/facts/memory.md,
    "Prediction".
    """
    total = 0
    for name, tensor in tensors.items():
        if _NOT_LANGUAGE.search(name):
            continue
        if _SEPARATE.search(name):
            total += tensor.shape[0] * _itemsize(name, tensors)
        elif _FUSED.search(name):
            total += (tensor.shape[0] - _queries(config)) * _itemsize(name, tensors)
    return total or None


def attention_per_pair(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes of attention scores per token computed and token of context: one per head.

    Measured: the allocator's peak is 1.13 to 1.35 times that on the CPU, in float32 and
    float16 (mx.fast.scaled_dot_product_attention, mlx 0.32.4). Metal's kernel computes
    heads of some widths without it, so there it is an upper bound.
    """
    heads, itemsize = _text(config).get("num_attention_heads"), _language_itemsize(tensors)
    if heads is None:
        heads = _heads(tensors, config)
    return None if heads is None or itemsize is None else int(heads) * itemsize


def activations_per_token(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes of one layer's activations per token: four of its width, three of its MLP's.

    Queries, keys, values and what attention makes of them; gate, up and their product.
    """
    hidden, inner = _rows(tensors, _NORM), _rows(tensors, _GATE)
    if inner is None and (both := _rows(tensors, _GATE_AND_UP)) is not None:
        inner = both // 2
    itemsize = _language_itemsize(tensors)
    if hidden is None or inner is None or itemsize is None:
        return None
    return (4 * hidden + 3 * inner) * itemsize


def per_tile(family: Family, tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes of one tile in the vision encoder: its attention scores, the largest of all.

    Every patch looks at every patch, once per head (the same measurement).
    """
    encoder = family.encoder(config)
    itemsize = _language_itemsize(tensors)
    if encoder is None or itemsize is None:
        return None
    heads, positions = encoder
    return heads * positions**2 * itemsize


def _heads(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Query heads of a config that leaves them out, from the rows of the projections."""
    rows = _rows(tensors, _QUERIES)
    width = _text(config).get("head_dim") or _rows(tensors, _QUERY_NORM) or _USUAL_HEAD
    return None if rows is None else max(1, rows // int(width))


def _rows(tensors: Mapping[str, Tensor], layer: re.Pattern[str]) -> int | None:
    """Rows of the language model's first tensor of this name; None if it has none.

    Quantising packs a row's numbers together and leaves the rows.
    """
    for name, tensor in tensors.items():
        if layer.search(name) and not _NOT_LANGUAGE.search(name):
            return tensor.shape[0]
    return None


def _text(config: Config) -> Config:
    return {**config, **(config.get("text_config") or {})}


def _language_itemsize(tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes of the numbers that the model computes with."""
    for name in tensors:
        if not _NOT_LANGUAGE.search(name) and (_SEPARATE.search(name) or _FUSED.search(name)):
            return _itemsize(name, tensors)
    return None


def _queries(config: Config) -> int:
    """Rows of a fused projection that are queries: heads · head width."""
    text = _text(config)
    heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
    return heads * int(text.get("head_dim") or hidden // heads)


def _itemsize(name: str, tensors: Mapping[str, Tensor]) -> int:
    """Bytes per cached number: the projection's own, or its scales' when quantised."""
    scales = tensors.get(name.removesuffix("weight") + "scales")
    return (scales or tensors[name]).itemsize or _HALF
