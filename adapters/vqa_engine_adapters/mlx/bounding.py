"""Keeping an image, and what a processor makes of it, within the plan's bound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image


def bounded(image: Image.Image, longest_edge: int | None) -> Image.Image:
    """The image with its longer side at most `longest_edge` pixels; never enlarged."""
    if longest_edge is None or max(image.size) <= longest_edge:
        return image
    scale = longest_edge / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


@contextmanager
def lent(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value while the block runs."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
