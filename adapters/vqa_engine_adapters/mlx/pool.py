"""Giving MLX's pool back: after a failed question, and when a model is let go."""

from __future__ import annotations

import gc
from contextlib import suppress


def discard() -> None:
    """Take a late error of the device, which would stick to the next question, and the pool."""
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    with suppress(RuntimeError):  # it is what failed the question
        mx.synchronize(generation_stream)
    mx.clear_cache()


def sweep() -> None:
    """Collect cycles that hold arrays, then give the pool back.

    The order matters: clearing the pool frees no array that is still referenced
    (docs/facts/memory.md, "The first remedy, judged").
    """
    import mlx.core as mx

    gc.collect()
    mx.clear_cache()
