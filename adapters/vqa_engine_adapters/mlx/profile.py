"""A checkpoint's memory profile, from its headers and configuration alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vqa_engine.adapter import MemoryProfile
from vqa_engine_adapters.mlx.checkpoint import Checkpoint
from vqa_engine_adapters.mlx.family import Config, Family
from vqa_engine_adapters.mlx.headers import Tensor

_NOT_LANGUAGE = re.compile(r"visi|visual|img|image|audio|connector|perceiver|resampler|projector")
_SEPARATE = re.compile(r"layers\.\d+\..*\b[kv]_proj\.weight$")
_FUSED = re.compile(r"layers\.\d+\..*\bqkv_proj\.weight$")

_HALF = 2
"""Bytes of a float16 or bfloat16, what a KV cache holds unless the weights are wider."""


def profile(family: Family, checkpoint: Checkpoint) -> MemoryProfile:
    """What the checkpoint needs: exact for weights and KV, an upper bound for images."""
    return MemoryProfile(
        backend="mlx",
        weights=sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        kv_per_token=kv_per_token(checkpoint.tensors, checkpoint.config),
        image_tokens=family.image_tokens(checkpoint.config, checkpoint.settings),
        strategies=family.strategies,
        exact=True,
    )


def kv_per_token(tensors: Mapping[str, Tensor], config: Config) -> int | None:
    """Bytes that one token adds to the KV cache, None where the headers do not say.

    A key or value projection has as many rows as it writes numbers per token, quantised
    or not. So the headers give the figure for every layer, whatever defaults the
    config leaves unsaid. The result agrees with the table in shared/facts/memory.md,
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


def _queries(config: Config) -> int:
    """Rows of a fused projection that are queries: heads · head width."""
    text = {**config, **(config.get("text_config") or {})}
    heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
    return heads * int(text.get("head_dim") or hidden // heads)


def _itemsize(name: str, tensors: Mapping[str, Tensor]) -> int:
    """Bytes per cached number: the projection's own, or its scales' when quantised."""
    scales = tensors.get(name.removesuffix("weight") + "scales")
    return (scales or tensors[name]).itemsize or _HALF
