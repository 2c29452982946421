"""Files that are read again while a run goes on have to be the ones that were checked."""

from __future__ import annotations

from pathlib import Path

from vqa_engine.errors import QuestionSetError
from vqa_engine.files import Stamp


def stamped(path: Path) -> Stamp:
    """The file's stamp.

    Raises:
        QuestionSetError: it is not there.
    """
    try:
        return Stamp.of(path)
    except OSError as error:
        raise QuestionSetError(f"it cannot be read: {error.strerror}", file=path) from error


def check_unchanged(path: Path, before: Stamp, now: Stamp) -> None:
    """See that two stamps of a file are one.

    Raises:
        QuestionSetError: they are not.
    """
    if now != before:
        raise QuestionSetError(
            "it was changed while it was in use, so the rest was not asked; bring the file back "
            "as it was, and the same command continues the run",
            file=path,
        )
