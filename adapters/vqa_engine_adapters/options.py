"""Reading `ModelRef.options` into an adapter's own record, before anything is loaded."""

from __future__ import annotations

from typing import Any

from attrs import field, validators

from vqa_engine.adapter import read_options as read

__all__ = ["read", "text"]


def text(default: str | None = None) -> Any:
    """A field for an optional text."""
    return field(default=default, validator=validators.optional(validators.instance_of(str)))
