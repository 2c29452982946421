"""Importing a large library without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from vqa_engine.strays import is_marked


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from what a block imports: hundreds of thousands of objects that stay.

    It would look through them again and again. In a worker, which they outlive, it never does
    later either, so that the collection after a load has only the model to look at: 65 ms of
    mlx-vlm's second, and more with torch. So it is for the first import alone: before a later
    load there may be what is left of a model.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        if is_marked() and not gc.get_freeze_count():
            gc.freeze()
    finally:
        if collects:
            gc.enable()
