"""What the traces of every backend have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SAMPLE = 64
"""Numbers of a picture's pixels that a trace keeps."""

CHOICES = 5
"""First tokens that a trace keeps."""


def spread(values: Any) -> tuple[float, ...]:
    """Some of an array's numbers (numpy's), evenly spread."""
    flat = values.reshape(-1)
    places = [(2 * n + 1) * flat.size // (2 * SAMPLE) for n in range(min(SAMPLE, flat.size))]
    return tuple(float(flat[place]) for place in places)


def first_and_count(marks: Sequence[bool]) -> tuple[int, int] | None:
    """The first place that is marked and how many are; None if none is."""
    return (list(marks).index(True), sum(marks)) if any(marks) else None
