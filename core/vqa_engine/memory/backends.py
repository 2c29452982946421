"""The installed memory backends, found in package metadata and imported one at a time."""

from __future__ import annotations

import logging
from functools import cache

from vqa_engine.errors import BackendError
from vqa_engine.memory.backend import GROUP, Library, MemoryBackend, TextCause
from vqa_engine.plugins.entry_points import Plugin, find, reason

log = logging.getLogger(__name__)


def installed() -> tuple[str, ...]:
    """The names of all backends, sorted; nothing is imported."""
    return tuple(sorted({plugin.name for plugin in find(GROUP)}))


def backend(name: str, device: str | None = None) -> MemoryBackend:
    """The backend and the device that an adapter's profile names.

    Raises:
        BackendError: there is no such backend, it cannot be used, or its library is
            missing or lacks a call that it needs.
    """
    kind = load(name)
    try:
        made: object = kind(device)
    except BackendError:
        raise
    except Exception as error:
        raise _broken(_select(name), f"making it failed: {reason(error)}") from error
    if not isinstance(made, MemoryBackend):
        raise _broken(_select(name), f"{type(made).__name__} does not fit MemoryBackend")
    return made


@cache
def load(name: str) -> type[MemoryBackend]:
    """The class of a backend, imported without its library.

    Raises:
        BackendError: there is no such backend, two packages offer it, its import
            failed, or it says nothing of its library.
    """
    plugin = _select(name)
    try:
        kind: type[MemoryBackend] = plugin.entry_point.load()
    except (Exception, SystemExit) as error:
        raise _broken(plugin, f"its import failed: {reason(error)}") from error
    if not callable(kind) or not isinstance(getattr(kind, "library", None), Library):
        raise _broken(plugin, f"{plugin.target} is not a subclass of MemoryBackend")
    return kind


def libraries() -> dict[str, Library]:
    """What each usable backend says of its library, by the backend's name, sorted.

    A backend that cannot be imported is logged and left out: what is asked here is asked
    about all of them, and no model needs that one.
    """
    found = {}
    for name in installed():
        try:
            found[name] = load(name).library
        except BackendError as error:
            log.warning("%s", error)
    return found


def distributions() -> tuple[str, ...]:
    """The packages of all backends whose versions decide what a model says, sorted."""
    return tuple(sorted({one for each in libraries().values() for one in each.distributions}))


def failure_texts() -> list[tuple[TextCause, str]]:
    """The failure texts of all backends."""
    return [pair for library in libraries().values() for pair in library.failures]


def _select(name: str) -> Plugin:
    offered = [plugin for plugin in find(GROUP) if plugin.name == name]
    if not offered:
        known = f"it is not installed (installed: {', '.join(installed()) or 'none'})"
        raise BackendError(f"memory backend {name!r}", known, "Install the package that has it.")
    if len(offered) > 1:
        places = " and by ".join(f"{plugin.source} ({plugin.target})" for plugin in offered)
        raise BackendError(
            f"memory backend {name!r}", f"it is offered by {places}", "Uninstall one of them."
        )
    return offered[0]


def _broken(plugin: Plugin, why: str) -> BackendError:
    return BackendError(
        f"memory backend {plugin.name!r}",
        f"{plugin.source} is installed, but {why}",
        f"Reinstall or update it: pip install --upgrade {plugin.distribution}",
    )
