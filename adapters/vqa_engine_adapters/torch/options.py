"""What `ModelRef.options` may hold for an adapter on torch, checked before anything loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import converters, field, frozen, validators

from vqa_engine.adapter import MemoryProfile
from vqa_engine_adapters.options import Wording, text

_DTYPES = ("float32", "float16", "bfloat16")

_PREFIX_CACHE = 256 * 2**20
"""Bytes of prefixes kept by default at least: a dozen images of a small model. Questions come
ordered by image, so one is enough; the others serve mixed orders."""

_SHORTHANDS: Mapping[str, Mapping[str, Any]] = {
    "4bit": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "8bit": {"quant_method": "bitsandbytes", "load_in_8bit": True},
}
"""Two words for the quantisations that need no configuration of their own."""


def _batch(value: Any) -> int | None:
    return None if value in {None, "auto"} else int(value)


def _quantization(value: Any) -> dict[str, Any] | None:
    """The configuration as a mapping; the command line gives it as JSON text or a shorthand."""
    if value is None:
        return None
    if isinstance(value, str):
        value = _SHORTHANDS.get(value) or json.loads(value)
    return dict(value)


@frozen(kw_only=True)
class Options(Wording):
    """How to load and ask a model; None leaves a choice to the driver.

    `device` is torch's name (`cuda:1`), `dtype` one of `_DTYPES`. `attn_implementation` and
    `quantization` (a `quantization_config`, `4bit` or `8bit`) go to transformers as they
    are. `prefix_cache` bounds the bytes kept for images asked about again; 0 keeps none.
    `batch` bounds the questions that are answered together; 1 asks one by one.
    """

    device: str | None = text()
    dtype: str | None = field(default=None, validator=validators.optional(validators.in_(_DTYPES)))
    attn_implementation: str | None = text()
    quantization: dict[str, Any] | None = field(default=None, converter=_quantization)
    prefix_cache: int | None = field(
        default=None,
        converter=converters.optional(int),
        validator=validators.optional(validators.ge(0)),
    )
    batch: int | None = field(
        default=None, converter=_batch, validator=validators.optional(validators.ge(1))
    )

    def kept(self, profile: MemoryProfile) -> int:
        """Bytes of prefixes to keep: what was asked for, or two of the largest images."""
        if self.prefix_cache is not None:
            return self.prefix_cache
        image = profile.image_tokens
        largest = 0 if image is None else image.most * (profile.kv_per_token or 0)
        return max(_PREFIX_CACHE, 2 * largest)
