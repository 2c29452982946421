"""Package metadata is read from regular files only, whoever reads it in this process.

Python's reader waits for ever on a pipe that bears the name of a metadata file, anywhere on the
path, and libraries read all that is installed while they are imported (transformers 5.23,
utils/import_utils.py, `packages_distributions`).
"""

from __future__ import annotations

import io
import logging
from functools import cache
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any

from vqa_engine.files import read_regular
from vqa_engine.strays import is_marked

log = logging.getLogger(__name__)

_LARGEST = 16 << 20
"""Bytes; torch's list of files has two million."""

_WARNED_OF = frozenset({"METADATA", "PKG-INFO", "entry_points.txt"})

_plainly = metadata.PathDistribution.read_text
_entry: Any = getattr(metadata, "FastPath", None)
"""An entry of the path (importlib/metadata/__init__.py, 3.11 to 3.14)."""

_zipped = getattr(_entry, "zip_children", None)


def guard() -> None:
    """From now on take what is no regular file, or far too large, for missing. Idempotent."""
    metadata.PathDistribution.read_text = _carefully  # type: ignore[assignment, method-assign]
    if _zipped is not None:
        _entry.zip_children = _names_in_zip


def _carefully(of: metadata.PathDistribution, filename: str | PathLike[str]) -> str | None:
    folder = getattr(of, "_path", None)
    if not isinstance(folder, Path):  # in a zip file
        return _plainly(of, filename)
    try:
        text = read_regular(folder / filename, _LARGEST).decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if str(filename) in _WARNED_OF and not is_marked():  # a worker's host says it
            _warn(folder / filename, error.strerror or str(error))
        return None
    return io.StringIO(text, newline=None).read()


def _names_in_zip(of: Any) -> Any:
    """What is in an entry of the path that is no folder: a zip file, not a pipe or a device."""
    return _zipped(of) if _zipped and Path(of.root).is_file() else {}


@cache
def _warn(file: Path, why: str) -> None:
    """Once for each."""
    log.warning("%s cannot be read, so plugins of its package may be missing: %s", file, why)
