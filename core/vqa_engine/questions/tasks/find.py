"""Finding cards: in packages, by the entry points `vqa_engine.tasks`, or by path.

An entry point's name is the task's, and its object a package in which the card is the file
`NAME.toml`, so that a package of cards needs no code.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from types import ModuleType

from vqa_engine.errors import ConfigurationError
from vqa_engine.files import read_regular
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.tasks.card import Task, read

_LARGEST = 1 << 20
"""Bytes of a card."""


def names() -> list[str]:
    """The tasks that are installed, in the order of their packages' lists."""
    return plugins.names(plugins.TASKS)


def task(wanted: str) -> Task:
    """The task of this name, or of the card at this path.

    Raises:
        ConfigurationError: there is none, or its card is not valid.
    """
    if wanted.endswith(".toml") or "/" in wanted:
        return _at(Path(wanted))
    plugin = plugins.select(plugins.TASKS, wanted)
    package = plugins.load(plugins.TASKS, wanted)
    if not isinstance(package, ModuleType):
        raise ConfigurationError(
            f"The task {wanted!r} of {plugin.source} names {plugin.target}, which is no package. "
            "Its author has to change that."
        )
    file = resources.files(package) / f"{plugin.name}.toml"
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The card of the task {wanted!r} of {plugin.source} cannot be read: {error}."
        ) from error
    return read(text, Path(str(file)).parent, plugin.name)


def _at(path: Path) -> Task:
    try:
        text = read_regular(path, _LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"The task card {path} cannot be read: {reason}.") from error
    return read(text, path.absolute().parent, str(path))
