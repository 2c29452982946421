"""Finding cards: in packages, by the entry points `vqa_engine.tasks`, or by path.

An entry point's name is the task's, and its object a package in which the card is the file
`NAME.toml`, so that a package of cards needs no code; if it has some, none is run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from vqa_engine.errors import ConfigurationError
from vqa_engine.files import read_regular
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.tasks.card import Task, read

log = logging.getLogger(__name__)

_LARGEST = 1 << 20
"""Bytes of a card."""


def names() -> list[str]:
    """The tasks that are installed, in the order of their packages' lists."""
    return plugins.names(plugins.TASKS)


def task(wanted: str, *, default: bool = False) -> Task:
    """The task of this name, or of the card at this path.

    With `default` nobody asked for it by name: of two packages that offer it, ours is taken.

    Raises:
        ConfigurationError: there is none, or its card is not valid.
    """
    if wanted.endswith(".toml") or "/" in wanted:
        return _at(Path(wanted))
    plugin = plugins.select(plugins.TASKS, wanted, default=default)
    folders = _folders(plugin.target)
    if not folders:
        raise ConfigurationError(
            f"The task {wanted!r} of {plugin.source} names {plugin.target}, which is no package. "
            "Its author has to change that."
        )
    cards = [folder / f"{plugin.name}.toml" for folder in folders]
    card = next(filter(Path.exists, cards), cards[0])
    return _read(card, plugin.name, f"The card of the task {wanted!r} of {plugin.source}")


def readable() -> Iterator[Task]:
    """Every installed task but those that are not valid, of which a warning says why."""
    for name in names():
        try:
            yield task(name, default=True)
        except ConfigurationError as error:
            log.warning("%s", error)


def _folders(package: str) -> list[Path]:
    """The folders of a package; none of its code runs."""
    top, *inner = package.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return []
    found = spec.submodule_search_locations if spec else None
    return [folder for one in found or () if (folder := Path(one, *inner)).is_dir()]


def _at(path: Path) -> Task:
    return _read(path, str(path), f"The task card {path}")


def _read(path: Path, source: str, title: str) -> Task:
    try:
        text = read_regular(path, _LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{title} cannot be read: {reason}.") from error
    return read(text, path.absolute().parent, source)
