"""A checkpoint folder as a runtime sees it that must not run the checkpoint's code.

What a runtime does with `trust_remote_code` cannot be relied on: mlx-vlm 0.7.10 sets it for
some model types and has it on by default for others (models/got, models/inkling,
models/internvl_chat; models/base.py, `install_auto_processor_patch`). So, unless the code is
trusted, a runtime is shown the data files alone, as if the rest had not been downloaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from vqa_engine.adapter import ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine.files import read_regular, real
from vqa_engine_adapters.checkpoints.checkpoint import LARGEST, Checkpoint
from vqa_engine_adapters.checkpoints.hub import DATA
from vqa_engine_adapters.swapping import swapped

_CODE_KEYS = frozenset({"auto_map", "model_file", "custom_generate", "custom_pipelines"})
"""Entries of a configuration that name code, in the folder or on the hub."""

_KERNEL_KEYS = frozenset(
    {"attn_implementation", "_attn_implementation", "experts_implementation"}
    | {"_attn_implementation_internal", "_experts_implementation"}
)
"""Entries that name a way to compute; `owner/name` is a kernel, which is code, on the hub."""

_NEVER_READ = ("*.md", "LICENSE*", "*.png", "*.jpg", ".gitattributes")


@contextmanager
def data_of(checkpoint: Checkpoint, model: ModelRef) -> Iterator[Path]:
    """The folder to give to a runtime; while the block runs, no code comes from it.

    It is the checkpoint's own where that is trusted or holds nothing but data. Otherwise it
    is a temporary one with links to the data files, and copies of those configuration files
    that name code, without these names.

    Raises:
        CheckpointError: the temporary folder cannot be made, or code was asked for all the same.
    """
    if model.trust_remote_code:
        yield checkpoint.folder
        return
    from transformers import dynamic_module_utils

    with swapped(dynamic_module_utils, "get_class_in_module", _refuse):
        if not code_in(checkpoint.folder):
            yield checkpoint.folder
            return
        with TemporaryDirectory(prefix="vqa-engine-") as shown:
            try:
                _show(checkpoint.folder, Path(shown))
            except OSError as error:
                raise CheckpointError(
                    checkpoint.name,
                    (),
                    f"no temporary folder can be made ({error.strerror})",
                    "Make room in the folder for temporary files, or set TMPDIR.",
                ) from error
            yield Path(shown)


def code_in(folder: Path) -> list[str]:
    """What of a folder may be code, or names code: file names, sorted."""
    return sorted(
        str(file.relative_to(folder))
        for file in _files(folder)
        if not _is_data(file, folder) or _named(file) is not None
    )


def left_out(checkpoint: Checkpoint, model: ModelRef) -> str:
    """What to do about a checkpoint that does not load without its code; "" where it has none."""
    found = [] if model.trust_remote_code else code_in(checkpoint.folder)
    if not found:
        return ""
    named = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return f"Its own code was not run ({named}); if you trust it, say --trust-remote-code."


def _refuse(*_given: Any, **_options: Any) -> NoReturn:
    raise PermissionError("it wants to run code, and needs trust_remote_code for that")


def _files(folder: Path) -> Iterator[Path]:
    """What lies in the folder or below, except for what no runtime reads."""
    for place, _, names in os.walk(folder):
        for name in names:
            if not any(fnmatch(name, pattern) for pattern in _NEVER_READ):
                yield Path(place, name)


def _is_data(file: Path, folder: Path) -> bool:
    return any(fnmatch(str(file.relative_to(folder)), pattern) for pattern in DATA)


def _show(folder: Path, shown: Path) -> None:
    for file in filter(lambda one: _is_data(one, folder), _files(folder)):
        target = shown / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        without = _named(file)
        if without is None:
            target.symlink_to(real(file))
        else:
            target.write_text(json.dumps(without), encoding="utf-8")


def _named(file: Path) -> Any | None:
    """A configuration without the code that it names; None where it names none."""
    if not fnmatch(file.name, "*config*.json"):
        return None
    try:
        content = json.loads(read_regular(file, LARGEST))
    except (OSError, ValueError, RecursionError):
        return None  # no runtime can read it either
    without = _without_code(content)
    return None if without == content else without


def _without_code(content: Any) -> Any:
    if isinstance(content, list):
        return [_without_code(one) for one in content]
    if not isinstance(content, dict):
        return content
    return {
        name: _without_code(value)
        for name, value in content.items()
        if name not in _CODE_KEYS and not (name in _KERNEL_KEYS and "/" in str(value))
    }
