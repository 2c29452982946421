"""What `ModelRef.options` may hold for an adapter on MLX."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from vqa_engine_adapters.options import text


def _switch(value: Any) -> bool:
    if value not in ("on", "off", True, False):
        raise ValueError(f"it is on or off, not {value!r}")
    return value in ("on", True)


@frozen(kw_only=True)
class Options:
    """How to ask a model.

    `instruction` replaces the text appended to each question, and may be empty; None is the
    family's own. `reuse` says whether what was computed about an image serves its next
    question, `batch` whether questions about one image are answered together.
    """

    instruction: str | None = text()
    reuse: bool = field(default=True, converter=_switch)
    batch: bool = field(default=True, converter=_switch)
