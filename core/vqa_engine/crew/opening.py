"""The places that a caller names, opened through their plugins."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from vqa_engine.adapter.crossing import called
from vqa_engine.crew.holder import Isolation
from vqa_engine.crew.place import Address, Places, Site
from vqa_engine.errors import ConfigurationError, VqaEngineError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins import probe
from vqa_engine.plugins.entry_points import PLACES, reason
from vqa_engine.plugins.resolution import ResolvedAdapter

log = logging.getLogger(__name__)

T = TypeVar("T")


class OpenPlaces:
    """Every site of some addresses, from `open` to `close`.

    Raises:
        ConfigurationError: an address names no plugin, or is refused by it.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._places = [_places(Address.parse(text)) for text in addresses]
        self._sites: list[Site] | None = None

    def __bool__(self) -> bool:
        return bool(self._places)

    def sites(self) -> Sequence[Site]:
        """The sites; the first call reaches them.

        Raises:
            ConfigurationError: they cannot be reached, or two have one name.
        """
        if self._sites is None:
            sites = [site for places in self._places for site in _opened(places)]
            name, count = Counter(site.name for site in sites).most_common(1)[0]
            if count > 1:
                raise ConfigurationError(
                    f"Two places are named {name!r}; for several workers on one device give "
                    f"the place once, with ?count=N."
                )
            self._sites = sites
        return self._sites

    def close(self) -> None:
        """Let go of all; what the next `sites` needs is reached again."""
        self._sites = None
        for places in reversed(self._places):
            try:
                called(places.close)
            except Exception as error:  # noqa: BLE001  another package's place may raise anything
                log.warning("a place could not be closed: %s", reason(error))


def check_portable(adapters: Sequence[ResolvedAdapter], isolation: Isolation) -> None:
    """See that every adapter can run in a worker, which a place needs.

    Raises:
        ConfigurationError: one cannot.
    """
    if isolation == "inline":
        raise ConfigurationError(
            "Places run models in worker processes: leave out the isolation `inline`."
        )
    for adapter in adapters:
        if not adapter.portable:
            raise ConfigurationError(
                f"{adapter.label!r} lives in this process alone, so it cannot run in places. "
                "Pass its name, or a class that can be imported."
            )


def _places(address: Address) -> Places:
    plugin = plugins.select(PLACES, address.scheme)
    if plugin.is_foreign:  # it starts the processes of a run, so it is used here, once it is known
        probe.check(plugin)
    made = _called(plugins.load(PLACES, address.scheme), plugin.title, address)
    if not isinstance(made, Places):
        raise ConfigurationError(
            f"The place {address.scheme!r} returns {type(made).__name__}, which does not "
            "implement Places. Report this to the authors of its package."
        )
    return made


def _opened(places: Places) -> Sequence[Site]:
    title = f"The place {type(places).__name__}"
    sites = _called(lambda: tuple(places.open()), title)
    if not sites:
        raise ConfigurationError(f"{title} has nowhere to run a model; give another --place.")
    return sites


def _called(call: Callable[..., T], title: str, *arguments: object) -> T:
    try:
        return called(call, *arguments)
    except VqaEngineError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{title} cannot be used: {reason(error)}.") from error
