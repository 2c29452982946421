"""The steps in which a prompt goes through the model."""

from __future__ import annotations

from collections.abc import Iterator

DEFAULT_PREFILL = 2048
"""mlx-vlm's own prefill step (mlx_vlm/generate/common.py)."""


def steps(positions: int, step: int | None) -> Iterator[tuple[int, int]]:
    """(start, stop) of each step of so many positions; None is mlx-vlm's own."""
    step = step or DEFAULT_PREFILL
    for start in range(0, positions, step):
        yield start, min(start + step, positions)
