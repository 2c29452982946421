"""Importing a large library without the garbage collector, and transformers in half the time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqa_engine.strays import is_marked
from vqa_engine_adapters.swapping import swapped

_LAST = (5, 24)
"""The latest release of transformers that was seen to look through its models as 5.18 does."""


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


def import_transformers() -> None:
    """Import transformers and its `models` with one look at their files.

    For each of the two it reads 1,669 of them: a quarter of a second. It means to remember the
    first look, but 128 folders of 547 are all that it remembers (transformers 5.23.0,
    utils/import_utils.py, `create_import_structure_from_path`; docs/upstream.md).
    """
    import transformers

    release = tuple(map(int, transformers.__version__.split(".")[:2]))
    if "transformers.models" in sys.modules or release > _LAST:
        return
    from transformers.utils import import_utils

    known = models()
    with swapped(import_utils, "define_import_structure", lambda _file: known):
        import transformers.models


def models() -> dict[frozenset[str], dict[str, Any]]:
    """What each module of `transformers.models` has, by the libraries that it needs.

    It is what transformers found for itself, which it remembers, without its own modules.
    """
    import transformers
    from transformers.utils.import_utils import define_import_structure

    folder, prefix = Path(transformers.__file__).parent / "models", "models"
    return {
        needed: {
            name.removeprefix(f"{prefix}."): found
            for name, found in modules.items()
            if name.startswith(f"{prefix}.")
        }
        for needed, modules in define_import_structure(folder, prefix=prefix).items()
    }
