"""Plugins of any group: found in metadata, selected by name, imported one at a time.

Finding imports nothing, so one broken plugin never harms another, and listing is quick. The
engine's own plugins come through the same door: they are entry points of `vqa-engine`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import field, frozen
from stevedore import NamedExtensionManager

from vqa_engine.adapter.crossing import called, said
from vqa_engine.errors import (
    AdapterBroken,
    AdapterClash,
    AdapterNotInstalled,
    ConfigurationError,
    PluginError,
    VqaEngineError,
)
from vqa_engine.plugins.metadata_files import guard
from vqa_engine.strays import is_marked

guard()

log = logging.getLogger(__name__)

ADAPTERS = "vqa_engine.adapters"
QUESTION_SETS = "vqa_engine.question_sets"
METRICS = "vqa_engine.metrics"
MEMORY_BACKENDS = "vqa_engine.memory_backends"
AGGREGATES = "vqa_engine.aggregates"
TASKS = "vqa_engine.tasks"
SUBMISSIONS = "vqa_engine.submissions"
PLACES = "vqa_engine.places"

KINDS = {
    ADAPTERS: "adapter",
    QUESTION_SETS: "question set",
    METRICS: "metric",
    MEMORY_BACKENDS: "memory backend",
    AGGREGATES: "aggregate",
    TASKS: "task",
    SUBMISSIONS: "submission",
    PLACES: "place",
}
"""The groups, and what messages call a plugin of each."""

OURS = "vqa-engine"
"""The distribution of the engine and of its own plugins."""

FAILURES = (Exception, SystemExit)
"""What an import may raise without ending the process."""


@frozen(order=True)
class Plugin:
    """One entry point, as its distribution's metadata declares it; nothing is imported."""

    name: str
    distribution: str
    version: str
    target: str
    entry_point: metadata.EntryPoint = field(eq=False, repr=False)

    @property
    def source(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def place(self) -> str:
        """The same with the object that is imported."""
        return f"{self.source} ({self.target})"

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"The {_kind(self.entry_point.group)} {self.name!r} of {self.source}"

    @property
    def is_foreign(self) -> bool:
        """Whether its code runs in a process of its own; where we are in one, it does not."""
        return self.distribution != OURS and not is_marked()


def find(group: str) -> list[Plugin]:
    """Every plugin of a group, sorted by name, then distribution; imports none of them."""
    entries = _entries(_installed()).get(group, ())
    return sorted(Plugin(one.name, *_source(one.dist), one.value, one) for one in entries)


def _installed() -> tuple[tuple[str, int], ...]:
    """The folders that packages are in, and when each last got or lost one, in nanoseconds."""
    found = []
    for name in sys.path:
        with suppress(OSError, ValueError):
            found.append((name, Path(name).stat().st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=1)
def _entries(_installed: object) -> dict[str, tuple[metadata.EntryPoint, ...]]:
    """The entry points of our groups; a package whose metadata cannot be read costs only its own.

    Kept, because reading those of 100 packages takes 4 ms, and a run asks a dozen times.
    """
    try:
        found = metadata.entry_points()
    except Exception:  # noqa: BLE001  of any package that is installed, if it has plugins or not
        entries = tuple(_readable())
        return {group: tuple(one for one in entries if one.group == group) for group in KINDS}
    return {group: tuple(found.select(group=group)) for group in KINDS}


def _readable() -> Iterator[metadata.EntryPoint]:
    seen = set[str]()
    for one in metadata.distributions():
        try:
            name, entries = str(one.name), tuple(one.entry_points)
        except Exception as error:  # noqa: BLE001  as above
            _warn(str(one.locate_file("")), reason(error))
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key not in seen:  # the first on the path is the one that Python imports
            seen.add(key)
            yield from entries


@cache
def _warn(folder: str, why: str) -> None:
    """Once for each."""
    log.warning(
        "the metadata of a package in %s cannot be read, so its plugins are not known: %s",
        *(folder, why),
    )


def names(group: str) -> list[str]:
    """The names that a group offers, sorted."""
    return sorted({plugin.name for plugin in find(group)})


def same(name: str, other: str) -> bool:
    """Whether two names mean one plugin: a hyphen equals an underscore."""
    return _key(name) == _key(other)


def select(group: str, name: str, *, default: bool = False) -> Plugin:
    """The one plugin of this name.

    With `default` nobody asked for it by name. Then the engine's own is taken, whoever else
    offers the name, and a warning says whose is not used.

    Raises:
        AdapterNotInstalled, AdapterClash: no adapter has the name, or two distributions
            offer it.
        ConfigurationError: the same, in any other group.
    """
    offered = find(group)
    matches = [plugin for plugin in offered if same(plugin.name, name)]
    if not matches:
        raise _missing(group, name, sorted({plugin.name for plugin in offered}))
    ours = [plugin for plugin in matches if plugin.distribution == OURS]
    if len(matches) > 1 and default and len(ours) == 1:
        for other in matches:
            if other.is_foreign:  # a worker's host says it
                _pass_over(other.source, f"{_kind(group)} {other.name!r}")
        return ours[0]
    if len(matches) > 1:
        raise _clash(group, name, [plugin.place for plugin in matches])
    return matches[0]


_passed_over = set[str]()
"""The packages of which was said that a name of theirs is ours."""


def _pass_over(source: str, what: str) -> None:
    """Say it once for each package."""
    if source not in _passed_over:
        _passed_over.add(source)
        log.warning(
            "vqa-engine uses its own %s, not the one that %s offers under the same name. "
            "Uninstall that package, or ask its authors for another name.",
            *(what, source),
        )


def load(group: str, name: str | Plugin) -> Any:
    """Import the one plugin of this name, or one that was selected already.

    Raises:
        AdapterError: of an adapter, as `select` does; also when its import failed,
            whatever it raised.
        ConfigurationError: the same, in any other group.
    """
    plugin = select(group, name) if isinstance(name, str) else name
    try:
        return imported(plugin.entry_point)
    except FAILURES as error:
        raise _broken(group, plugin, error) from error


def make(group: str, name: str | Plugin, kind: type) -> Any:
    """Import a plugin as `load` does, and call it without arguments.

    `kind` is the runtime protocol that its result has to fit.

    Raises:
        ConfigurationError: as `load` does; also when calling it fails, or its result
            does not fit.
    """
    factory, name = load(group, name), name if isinstance(name, str) else name.name
    try:
        made = called(factory)
    except Exception as error:
        raise ConfigurationError(
            f"The {_kind(group)} {name!r} cannot be created: {reason(error)}. "
            "Its entry point must name a class or a function without arguments."
        ) from error
    if not isinstance(made, kind):
        raise ConfigurationError(
            f"The {_kind(group)} {name!r} returns {type(made).__name__}, which does not "
            f"implement {kind.__name__}. Report this to the authors of its package."
        )
    return made


def imported(entry: metadata.EntryPoint) -> Any:
    """Import what one entry point names; the only place where that is done.

    Raises:
        Exception, SystemExit: whatever the import raised; see `FAILURES`. What is neither
            comes as a RuntimeError that names it.
    """
    try:
        return _Loader(entry)[entry.name].plugin
    except (*FAILURES, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RuntimeError(reason(error)) from error


def reason(error: BaseException) -> str:
    """An exception's type and text; of a `PluginError` its text, which is a reason already."""
    if isinstance(error, PluginError):
        return said(error)
    return f"{type(error).__name__}: {said(error)}".rstrip(": ")


def remedy(plugin: Plugin, error: BaseException | None = None) -> str:
    """What to do about an import that failed, or ended its process."""
    if isinstance(error, ModuleNotFoundError) and ":" not in plugin.target:
        module, _, name = plugin.target.rpartition(".")
        return f"Its entry point {plugin.target!r} has no colon: write {module or name}:{name}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Install the package that provides the module {error.name!r}"
    return f"Reinstall or update it: pip install --upgrade {plugin.distribution}"


class _Loader(NamedExtensionManager[Any]):
    """stevedore's loader for one entry point that was selected already.

    stevedore's own list comes from caches on disk and on the class, which miss a package
    that was installed a moment ago; and of two plugins with one name it silently takes
    the last.
    """

    def __init__(self, entry: metadata.EntryPoint) -> None:
        self._entry = entry
        super().__init__(entry.group, [entry.name], on_load_failure_callback=_raise)

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        return [self._entry]


def _raise(_manager: object, _entry: object, error: BaseException) -> None:
    raise error


def _missing(group: str, name: str, known: list[str]) -> VqaEngineError:
    keys = {_key(one).lower(): one for one in known}
    close = get_close_matches(_key(name).lower(), keys, n=1)
    meant = keys[close[0]] if close else None
    if group == ADAPTERS:
        return AdapterNotInstalled(name, known, meant)
    advice = f"did you mean {meant!r}?" if meant else f"choose from: {_listed(known)}."
    return ConfigurationError(f"There is no {_kind(group)} {name!r}; {advice}")


def _clash(group: str, name: str, places: list[str]) -> VqaEngineError:
    if group == ADAPTERS:
        return AdapterClash(name, places)
    return ConfigurationError(
        f"The {_kind(group)} {name!r} is offered by {' and by '.join(places)}. "
        "Uninstall one of them."
    )


def _broken(group: str, plugin: Plugin, error: BaseException) -> VqaEngineError:
    why, what = reason(error), remedy(plugin, error)
    if group == ADAPTERS:
        return AdapterBroken(plugin.name, plugin.distribution, plugin.version, why, what)
    return ConfigurationError(
        f"The {_kind(group)} {plugin.name!r} of {plugin.source} is installed, but its import "
        f"failed: {why}. {what}."
    )


def _kind(group: str) -> str:
    return KINDS.get(group, "plugin")


def _key(name: str) -> str:
    return name.replace("-", "_")


def _listed(known: Iterable[str]) -> str:
    return ", ".join(known) or "none is installed"


@lru_cache  # one distribution offers many, and each look parses its metadata
def _source(distribution: metadata.Distribution | None) -> tuple[str, str]:
    """Name and version, a question mark for what cannot be read."""
    try:
        known = (distribution.name, distribution.version) if distribution else (None, None)
    except Exception:  # noqa: BLE001  as in `_entries`
        known = (None, None)
    return known[0] or "?", known[1] or "?"
