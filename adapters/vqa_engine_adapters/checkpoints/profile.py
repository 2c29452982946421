"""A checkpoint's memory profile, from its headers and configuration alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import evolve

from vqa_engine.adapter import MemoryProfile
from vqa_engine_adapters.checkpoints.checkpoint import Description
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.families.family import Config, Family

_NOT_LANGUAGE = re.compile(r"visi|visual|img|image|audio|connector|perceiver|resampler|projector")
_SEPARATE = re.compile(r"layers\.\d+\..*\b[kv]_proj\.weight$")
_FUSED = re.compile(r"layers\.\d+\..*\bqkv_proj\.weight$")

_HALF = 2
"""Bytes of a float16 or bfloat16, what a KV cache holds unless the weights are wider."""


def profile(family: Family, checkpoint: Description) -> MemoryProfile:
    """What the checkpoint needs: exact for weights and KV, an upper bound for images."""
    return evolve(
        family.estimate,
        weights=sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        kv_per_token=kv_per_token(checkpoint.tensors, checkpoint.config),
        image_tokens=family.image_tokens(checkpoint.config, checkpoint.settings),
        attention_per_pair=attention_per_pair(checkpoint.tensors, checkpoint.config),
        activations_per_token=activations_per_token(checkpoint.tensors, checkpoint.config),
        per_tile=per_tile(family, checkpoint.tensors, checkpoint.config),
        exact=True,
    )


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
    heads = {**config, **(config.get("text_config") or {})}.get("num_attention_heads")
    itemsize = _language_itemsize(tensors)
    return None if heads is None or itemsize is None else int(heads) * itemsize


def activations_per_token(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes of one layer's activations per token: four of its width, three of its MLP's.

    Queries, keys, values and what attention makes of them; gate, up and their product.
    """
    text = {**config, **(config.get("text_config") or {})}
    hidden, inner = text.get("hidden_size"), text.get("intermediate_size")
    itemsize = _language_itemsize(tensors)
    if not (isinstance(hidden, int) and isinstance(inner, int)) or itemsize is None:
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


def _language_itemsize(tensors: Mapping[str, Tensor]) -> int | None:
    """Bytes of the numbers that the model computes with."""
    for name in tensors:
        if not _NOT_LANGUAGE.search(name) and (_SEPARATE.search(name) or _FUSED.search(name)):
            return _itemsize(name, tensors)
    return None


def _queries(config: Config) -> int:
    """Rows of a fused projection that are queries: heads · head width."""
    text = {**config, **(config.get("text_config") or {})}
    heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
    return heads * int(text.get("head_dim") or hidden // heads)


def _itemsize(name: str, tensors: Mapping[str, Tensor]) -> int:
    """Bytes per cached number: the projection's own, or its scales' when quantised."""
    scales = tensors.get(name.removesuffix("weight") + "scales")
    return (scales or tensors[name]).itemsize or _HALF
