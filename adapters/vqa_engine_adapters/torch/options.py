"""What `ModelRef.options` may hold for an adapter on torch, checked before anything loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators

from vqa_engine_adapters.options import Wording, text

DTYPES = ("float32", "float16", "bfloat16")

PREFIX_CACHE = 256 * 2**20
"""Bytes of prefixes kept by default: a dozen images of a small model, one or two of a large
one. Questions come ordered by image, so one is enough; the others serve mixed orders."""

SHORTHANDS: Mapping[str, Mapping[str, Any]] = {
    "4bit": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "8bit": {"quant_method": "bitsandbytes", "load_in_8bit": True},
}
"""Two words for the quantisations that need no configuration of their own."""


def _prefix_cache(value: Any) -> int:
    return int(value)


def _quantization(value: Any) -> dict[str, Any] | None:
    """The configuration as a mapping; the command line gives it as JSON text or a shorthand."""
    if value is None:
        return None
    if isinstance(value, str):
        value = SHORTHANDS.get(value) or json.loads(value)
    return dict(value)


@frozen(kw_only=True)
class Options(Wording):
    """How to load and ask a model; None leaves a choice to the driver.

    `device` is torch's name (`cuda:1`), `dtype` one of `DTYPES`. `attn_implementation` and
    `quantization` (a `quantization_config`, `4bit` or `8bit`) go to transformers as they
    are. `prefix_cache` bounds the bytes kept for images asked about again; 0 keeps none.
    """

    device: str | None = text()
    dtype: str | None = field(default=None, validator=validators.optional(validators.in_(DTYPES)))
    attn_implementation: str | None = text()
    quantization: dict[str, Any] | None = field(default=None, converter=_quantization)
    prefix_cache: int = field(
        default=PREFIX_CACHE, converter=_prefix_cache, validator=validators.ge(0)
    )
