"""Writing into a card which data it means: commit, digest and number of questions."""

from __future__ import annotations

import re
from pathlib import Path

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.tasks.card import Task, read
from vqa_engine.questions.tasks.task_set import data_commit, data_of

_TABLE = re.compile(r"^\[data\][^\S\n]*(?:#.*)?$", re.MULTILINE)
_NEXT = re.compile(r"^\[", re.MULTILINE)


def pinned(task: Task, target: Path) -> str:
    """The card's text as it is to be written to `target`, its data named exactly.

    The data is downloaded if it is not here. What the card says of it already is checked.

    Raises:
        ConfigurationError: the card has no `[data]` table that can be edited, or `target` is
            away from the files beside it.
        QuestionSetError: the data cannot be had, or is not what the card says.
    """
    data = task.card.data
    if data.hub is None and target.absolute().parent != task.folder:
        raise ConfigurationError(
            f"The data of {task.name} is beside its card; write the new card to {task.folder} too."
        )
    found = data_of(task)
    values = {"questions": str(len(found)), "digest": f'"sha256:{found.digest()}"'}
    if data.hub is not None:
        values = {"revision": f'"{_commit(task)}"', **values}
    return _edited(task, values)


def _commit(task: Task) -> str:
    found = data_commit(task)
    if found is None:
        raise ConfigurationError(
            f"The hub gave no commit for {task.card.data.hub}, so it cannot be pinned."
        )
    return found.partition("@")[2]


def _edited(task: Task, values: dict[str, str]) -> str:
    """The card with these values first in `[data]`, in place of what stood there."""
    start = _TABLE.search(task.text)
    if start is None:
        raise ConfigurationError(
            f"The task card {task.source} has no [data] table to write into; give it one."
        )
    following = _NEXT.search(task.text, start.end())
    end = following.start() if following else len(task.text)
    old = re.compile(rf"^(?:{'|'.join(values)})\s*=.*\n?", re.MULTILINE)
    kept = old.sub("", task.text[start.end() : end])
    new = "".join(f"\n{name} = {value}" for name, value in values.items())
    text = f"{task.text[: start.end()]}{new}{kept}{task.text[end:]}"
    read(text, task.folder, task.source)  # which is still a card
    return text
