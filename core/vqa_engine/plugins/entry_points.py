"""Entry points of any group: find (from metadata, nothing is imported), pick, import.

Adapters have a registry of their own on top of this (`vqa_engine.plugins.registry`). Question
sets and metrics are loaded here, by `load`. The engine's own come
through the same door: they are entry points of the distribution `vqa-engine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import Any

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError

QUESTION_SETS = "vqa_engine.question_sets"
METRICS = "vqa_engine.metrics"
AGGREGATES = "vqa_engine.aggregates"

KINDS = {
    QUESTION_SETS: "question set",
    METRICS: "metric",
    AGGREGATES: "aggregate",
}
"""What messages call a plugin of each group."""


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


def find(group: str) -> list[Plugin]:
    """Every plugin of a group, sorted by name, then distribution; imports none of them."""
    return sorted(_plugin(entry) for entry in metadata.entry_points(group=group))


def names(group: str) -> list[str]:
    """The names that a group offers, sorted."""
    return sorted({plugin.name for plugin in find(group)})


def load(group: str, name: str) -> Any:
    """Import the one plugin of this name.

    Raises:
        ConfigurationError: there is none, two distributions offer it, or its import
            failed, whatever it raised.
    """
    kind = KINDS[group]
    plugin = _pick(kind, name, find(group))
    try:
        return plugin.entry_point.load()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"The {kind} {name!r} of {plugin.source} is installed, but its import failed: "
            f"{reason(error)}. Reinstall or update it: "
            f"pip install --upgrade {plugin.distribution}"
        ) from error


def make(group: str, name: str, kind: type) -> Any:
    """Import the one plugin of this name and call it without arguments.

    `kind` is the runtime protocol that its result has to fit.

    Raises:
        ConfigurationError: as `load` does; also when calling it fails, or its result
            does not fit.
    """
    factory = load(group, name)
    try:
        made = factory()
    except Exception as error:
        raise ConfigurationError(
            f"The {KINDS[group]} {name!r} cannot be made: {reason(error)}. "
            "Its entry point has to name a class or a function without arguments."
        ) from error
    if not isinstance(made, kind):
        raise ConfigurationError(
            f"The {KINDS[group]} {name!r} gives {type(made).__name__}, which does not fit "
            f"vqa_engine's {kind.__name__}. Its author has to change that."
        )
    return made


def reason(error: BaseException) -> str:
    """An exception's type and text."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _pick(kind: str, name: str, plugins: Iterable[Plugin]) -> Plugin:
    known = list(plugins)
    matches = [plugin for plugin in known if plugin.name == name]
    if not matches:
        choices = ", ".join(sorted({plugin.name for plugin in known})) or "none is installed"
        raise ConfigurationError(f"There is no {kind} {name!r}; choose from: {choices}.")
    if len(matches) > 1:
        places = " and by ".join(f"{plugin.source} ({plugin.target})" for plugin in matches)
        raise ConfigurationError(
            f"The {kind} {name!r} is offered by {places}. Uninstall one of them."
        )
    return matches[0]


def _plugin(entry: metadata.EntryPoint) -> Plugin:
    # An entry point that stevedore hands out has no `dist`; one from metadata has.
    distribution = entry.dist
    name, version = (distribution.name, distribution.version) if distribution else ("?", "?")
    return Plugin(entry.name, name, version, entry.value, entry)
