"""What `ModelRef.options` may hold for an adapter on MLX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators
from attrs.converters import optional

from vqa_engine_adapters.options import Wording

_MOST_CROPS = 16
"""What Phi-3.5-vision was trained with at most (its model card)."""


def _switch(value: Any) -> bool:
    if value not in ("on", "off", True, False):
        raise ValueError(f"it is on or off, not {value!r}")
    return value in ("on", True)


def _crops(_instance: Any, _attribute: Any, value: int) -> None:
    if not 1 <= value <= _MOST_CROPS:
        raise ValueError(f"it is from 1 to {_MOST_CROPS}, not {value}")


@frozen(kw_only=True)
class Options(Wording):
    """How to ask a model.

    `reuse` says whether what was computed about an image serves its next
    question, `batch` whether questions about one image are answered together.
    """

    reuse: bool = field(default=True, converter=_switch)
    batch: bool = field(default=True, converter=_switch)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings that replace those of the checkpoint's processor."""
        return {}


@frozen(kw_only=True)
class Phi35Options(Options):
    """How to ask a Phi-3.5-vision.

    `num_crops` is the most crops of an image; None is the checkpoint's own number, 4. The
    model card advises 16 for a single image. More crops show more detail and cost 144 tokens
    each, and as many more of the KV cache.
    """

    num_crops: int | None = field(
        default=None, converter=optional(int), validator=validators.optional(_crops)
    )

    @property
    def settings(self) -> Mapping[str, Any]:
        """The number of crops, if one was given."""
        return {} if self.num_crops is None else {"num_crops": self.num_crops}
