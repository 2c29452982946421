"""What a task's questions were when this machine read them first.

A card without a digest trusts the data of a commit once; from then on that commit has to give
the same questions. A digest that the card states is checked instead (`task_set`).
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec import Struct

from vqa_engine.errors import OutputError, QuestionSetError
from vqa_engine.files import replace
from vqa_engine.questions.spool import Record
from vqa_engine.questions.store import cache
from vqa_engine.questions.tasks.card import Task

log = logging.getLogger(__name__)


class First(Struct, frozen=True):
    """The digest of the questions, the version of vqa-engine that read them, and the day."""

    digest: str
    engine: str
    day: str


def known(task: Task, commit: str | None) -> First | None:
    """What is noted for a task's data at a commit, None where it has not been read yet."""
    try:
        return msgspec.json.decode(_note(task, commit).read_bytes(), type=First)
    except (OSError, msgspec.MsgspecError):
        return None


def check(task: Task, commit: str | None, digest: str) -> None:
    """Compare the digest of the questions with the first one, or note it as that.

    Another version of vqa-engine may read a table differently; then the new digest counts,
    and the log says so.

    Raises:
        QuestionSetError: the same version read other questions from the same commit.
    """
    engine = metadata.version("vqa-engine")
    first, note = known(task, commit), _note(task, commit)
    if first is not None and first.digest == digest:
        return
    if first is not None and first.engine == engine:
        raise QuestionSetError(
            f"the questions of {task.name} are not those that were first read on {first.day}: "
            f"their digest is {digest}, not {first.digest}. Files of {commit} were changed since; "
            f"download them again, or delete {note} to trust them as they are",
            file=None,
        )
    if first is not None:
        log.warning(
            "The questions of %s are not those that vqa-engine %s read on %s, so their scores do "
            "not compare: version %s reads this data differently.",
            *(task.name, first.engine, first.day, engine),
        )
    now = First(digest, engine, datetime.now(UTC).date().isoformat())
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        replace(note, [msgspec.json.encode(now)])
    except (OSError, OutputError) as error:
        log.warning("The digest of the questions of %s cannot be kept: %s", task.name, error)


def _note(task: Task, commit: str | None) -> Path:
    """One for each commit, its files, and how a card reads them."""
    data = task.card.data
    said = (commit, data.files, data.joined, task.card.columns, Record.__struct_fields__)
    key = hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]
    return cache() / "datasets" / f"{str(data.hub).replace('/', '--')}-{key}.first.json"
