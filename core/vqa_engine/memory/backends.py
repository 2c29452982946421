"""The installed memory backends, found in package metadata and imported one at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache

from vqa_engine.errors import BackendError, ConfigurationError
from vqa_engine.memory.backend import Library, MemoryBackend, TextCause
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS, OURS
from vqa_engine.plugins.probe.report import report
from vqa_engine.strays import is_marked

log = logging.getLogger(__name__)

_loaded: set[str] = set()
"""The names of the backends that this process has imported."""


def installed() -> tuple[str, ...]:
    """The names of all backends, sorted; nothing is imported."""
    return tuple(plugins.names(MEMORY_BACKENDS))


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
        raise _unusable(name, f"creating it failed: {plugins.reason(error)}") from error
    if not isinstance(made, MemoryBackend):
        raise _unusable(name, f"{type(made).__name__} does not implement MemoryBackend")
    return made


@cache
def load(name: str) -> type[MemoryBackend]:
    """The class of a backend, imported without its library.

    Raises:
        BackendError: there is no such backend, two packages offer it, its import
            failed, or it says nothing about its library.
    """
    try:
        # An adapter names it, never a user.
        plugin = plugins.select(MEMORY_BACKENDS, name, default=True)
        kind: type[MemoryBackend] = plugins.load(MEMORY_BACKENDS, plugin)
    except ConfigurationError as error:
        raise BackendError(MEMORY_BACKENDS, str(error).removesuffix(".")) from error
    _loaded.add(name)
    if not callable(kind) or not isinstance(getattr(kind, "library", None), Library):
        raise _unusable(name, "its entry point does not name a subclass of MemoryBackend")
    return kind


@cache
def libraries() -> dict[str, Library]:
    """What each usable backend says about its library, by the backend's name, sorted.

    Other packages' backends are imported in processes of their own, once. One that cannot be
    imported is logged and left out: what is asked here is asked about all of them, and no model
    needs that one.
    """
    others = any(one.distribution != OURS for one in plugins.find(MEMORY_BACKENDS))
    found = (_found_apart() if others else {}) | _found_here(own())
    return dict(sorted(found.items()))


def own() -> set[str]:
    """The names of the engine's own backends."""
    return {one.name for one in plugins.find(MEMORY_BACKENDS) if one.distribution == OURS}


def _found_here(names: Iterable[str]) -> dict[str, Library]:
    found = {}
    for name in sorted(names):
        try:
            found[name] = load(name).library
        except BackendError as error:
            log.warning("%s", error)
    return found


def _found_apart() -> dict[str, Library]:
    found = {}
    ours = own()
    for one in report((MEMORY_BACKENDS,)):
        if one.name in ours:
            continue
        if one.library is not None:
            found[one.name] = one.library
        else:
            log.warning("The memory backend %r cannot be used: %s.", one.name, one.reason)
    return found


def distributions() -> tuple[str, ...]:
    """The packages of all backends whose versions decide what a model says, sorted."""
    return tuple(sorted({one for each in libraries().values() for one in each.distributions}))


def failure_texts() -> list[tuple[TextCause, str]]:
    """The failure texts of all backends; in a worker, of ours and of those that it has loaded.

    Another package's backend can end the process that imports it, and a worker whose model does
    not need it must not pay for that.
    """
    known = _found_here(own() | _loaded) if is_marked() else libraries()
    return [pair for library in known.values() for pair in library.failures]


def _unusable(name: str, why: str) -> BackendError:
    plugin = plugins.select(MEMORY_BACKENDS, name, default=True)
    return BackendError(
        MEMORY_BACKENDS,
        f"The memory backend {name!r} of {plugin.source} is installed, but {why}",
        f"{plugins.remedy(plugin)}.",
    )
