"""Checks before a model is loaded: are the image files there, and are there ground truths?

A folder's names are listed once, which costs a fraction of looking at each file, also over
a network; no image is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from vqa_engine.errors import QuestionSetError

log = logging.getLogger(__name__)

SHOWN = 3
"""Missing files that a message names."""


def check_images(file: Path, root: Path, names: Mapping[str, int]) -> None:
    """Look for each image below `root`; `names` say where each is first named in `file`.

    Some missing files are logged as a warning, for a run can do without a few pictures.

    Raises:
        QuestionSetError: none of them exists.
    """
    folders: dict[str, frozenset[str]] = {}
    missing = [name for name in names if not _exists(os.path.join(root, name), folders)]  # noqa: PTH118
    if not missing:
        return
    shown = ", ".join(f"{name} (line {names[name]})" for name in missing[:SHOWN])
    more = ", …" if len(missing) > SHOWN else ""
    if len(missing) == len(names):
        raise QuestionSetError(
            f"none of its {len(names)} images is in {root}: {shown}{more}. "
            "Give their folder with --images.",
            file=file,
        )
    log.warning(
        "%s: %d of %d images are missing, and their questions will fail: %s%s",
        *(file, len(missing), len(names), shown, more),
    )


def check_truths(file: Path, with_answers: int, count: int) -> None:
    """Log a warning for questions without ground truths."""
    if with_answers == 0:
        log.warning("%s: it has no ground truths, so nothing will be scored", file)
    elif with_answers < count:
        log.warning(
            "%s: %d of %d questions have no ground truth", file, count - with_answers, count
        )


def _exists(path: str, folders: dict[str, frozenset[str]]) -> bool:
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = _listed(folder)
    return name in folders[folder] or os.path.exists(path)  # noqa: PTH110


def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()
