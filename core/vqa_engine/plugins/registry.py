"""Plugins, in three separate steps: find (from metadata), load (one), check (its shape).

Finding imports nothing, so one broken plugin never harms another, and listing is quick.
Loading goes through stevedore for the one name that was asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Literal, cast

from attrs import frozen
from stevedore import NamedExtensionManager

from vqa_engine.adapter import MemoryProfile, ModelAdapter
from vqa_engine.errors import (
    AdapterBroken,
    AdapterClash,
    AdapterError,
    AdapterInvalid,
    AdapterNotInstalled,
)
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin, reason
from vqa_engine.plugins.probe import LONGEST, Binding, Finding, Wanted, probe
from vqa_engine.plugins.signatures import argument_problems, missing_methods, wrong_signatures
from vqa_engine.plugins.spec import AdapterSpec

GROUP = "vqa_engine.adapters"
"""The entry-point group of adapters; the entry point's name is the adapter's."""

State = Literal["healthy", "broken", "invalid", "clash"]
AdapterFactory = Callable[[], ModelAdapter]


@frozen
class PluginReport:
    """A plugin and whether it can be used.

    `error` is None when it is healthy; then `profile` is its estimate before loading, and
    `model` the default checkpoint where the adapter tells it. `bindings` are its cleanup
    strategies, if the backend was asked whether it has the calls that they need.
    """

    plugin: Plugin
    error: AdapterError | None = None
    profile: MemoryProfile | None = None
    model: str | None = None
    bindings: tuple[Binding, ...] = ()

    @property
    def state(self) -> State:
        """One word for the listing."""
        match self.error:
            case None:
                return "healthy"
            case AdapterClash():
                return "clash"
            case AdapterInvalid():
                return "invalid"
            case _:
                return "broken"

    @property
    def reason(self) -> str:
        """What is wrong, without what to do about it; empty when nothing is."""
        match self.error:
            case None:
                return ""
            case AdapterClash() as clash:
                return f"offered by {' and by '.join(clash.distributions)}"
            case AdapterInvalid() as invalid:
                return "; ".join(invalid.problems)
            case AdapterBroken() as broken:
                return broken.reason
            case other:
                return str(other)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        match self.error:
            case None:
                return ""
            case AdapterClash():
                return "Uninstall one of them"
            case AdapterBroken() as broken:
                return broken.remedy
            case _:
                return f"Its author has to change that: tell those of {self.plugin.distribution}"


def find(group: str = GROUP) -> list[Plugin]:
    """Every plugin of a group, sorted by name, then distribution; imports none of them."""
    return plugins.find(group)


def load(name: str) -> AdapterFactory:
    """Import one adapter and check it.

    Raises:
        AdapterNotInstalled: no plugin has this name.
        AdapterClash: two distributions offer it.
        AdapterBroken: its import failed.
        AdapterInvalid: it does not fit `ModelAdapter`.
    """
    plugin = select(name, find())
    factory = import_plugin(plugin)
    check(name, factory)
    return factory


def make(spec: AdapterSpec) -> ModelAdapter:
    """The adapter object that a spec names, checked, not loaded.

    Raises:
        AdapterError: as `load` does; also when the object cannot be made.
    """
    factory = load_target(spec.name, spec.target) if spec.target else load(spec.name)
    return made(spec.name, factory)


def load_target(name: str, target: str) -> AdapterFactory:
    """Import a class that is no plugin, by `module:qualified.name`, and check it.

    Raises:
        AdapterBroken: the import failed.
        AdapterInvalid: it does not fit `ModelAdapter`.
    """
    try:
        factory = metadata.EntryPoint(name, target, GROUP).load()
    except (Exception, SystemExit) as error:
        remedy = "The worker must be able to import it; an instance runs inline instead"
        raise AdapterBroken(name, target, "(no plugin)", reason(error), remedy) from error
    check(name, factory)
    return cast(AdapterFactory, factory)


def report(
    known: Iterable[Plugin] | None = None, *, longest: float = LONGEST, bind: bool = False
) -> list[PluginReport]:
    """Try every plugin, and tell the healthy ones from the broken.

    Each is imported in a process of its own, for at most `longest` seconds: one that
    hangs, exits or crashes harms no other, and nothing is imported here. With `bind` the
    backends are imported there as well, and each declared strategy is bound.

    Raises:
        WorkerError: no process can be started here.
    """
    listed = list(find() if known is None else known)
    clashes = {plugin: _clash(plugin, listed) for plugin in listed}
    tried = [(number, one) for number, one in enumerate(listed) if clashes[one] is None]
    wanted = [
        Wanted(number=number, group=one.entry_point.group, name=one.name, target=one.target)
        for number, one in tried
    ]
    found = dict(zip(dict(tried), probe(wanted, longest=longest, bind=bind), strict=True))
    return [
        _report(plugin, found[number]) if number in found else PluginReport(plugin, clashes[plugin])
        for number, plugin in enumerate(listed)
    ]


def select(name: str, offered: Iterable[Plugin]) -> Plugin:
    """The one plugin called `name`.

    Clashes are found here, from metadata: stevedore's own detection misses duplicates
    that are not adjacent, and silently takes the last.
    """
    known = list(offered)
    matches = [plugin for plugin in known if plugin.name == name]
    if not matches:
        names = sorted({plugin.name for plugin in known})
        raise AdapterNotInstalled(name, names, package=f"vqa-engine-{name.replace('_', '-')}")
    if len(matches) > 1:
        raise AdapterClash(name, [f"{plugin.source} ({plugin.target})" for plugin in matches])
    return matches[0]


def check(name: str, factory: object) -> None:
    """Check that `factory` makes objects that fit `ModelAdapter`.

    `isinstance` on a runtime protocol accepts anything with the right names, so the
    signatures of a class are compared too. Of a factory function nothing is known
    before it is called; its result goes through `check_instance`.

    Raises:
        AdapterInvalid: naming each method that is missing or has another signature.
    """
    if not callable(factory):
        raise AdapterInvalid(name, [f"{factory!r} is neither a class nor a function"])
    problems = argument_problems(factory)
    if inspect.isclass(factory):
        problems += missing_methods(factory) + wrong_signatures(factory)
    if problems:
        raise AdapterInvalid(name, problems)


def check_instance(name: str, adapter: object) -> None:
    """Check that an adapter object has the four methods with the right signatures.

    Raises:
        AdapterInvalid: naming each method that does not fit.
    """
    problems = missing_methods(adapter) + wrong_signatures(adapter)
    if problems:
        raise AdapterInvalid(name, problems)


class _FreshManager(NamedExtensionManager[AdapterFactory]):
    """stevedore's loader over the metadata as it is now.

    stevedore caches entry points on disk and on the class: a package installed a
    moment ago, or by another interpreter, might not be seen.
    """

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        return list(metadata.entry_points(group=self.namespace))


def import_plugin(plugin: Plugin) -> AdapterFactory:
    """Import one plugin; nothing is checked.

    Raises:
        AdapterBroken: its import failed, whatever it raised.
    """
    failures: list[BaseException] = []

    def keep(_manager: object, _entry: object, error: BaseException) -> None:
        failures.append(error)

    try:
        manager = _FreshManager(
            plugin.entry_point.group,
            [plugin.name],
            on_load_failure_callback=keep,
            on_missing_entrypoints_callback=None,
        )
    except (AssertionError, SystemExit) as error:
        # stevedore lets these two through its isolation.
        failures.append(error)
    if failures:
        raise _broken(plugin, failures[0]) from failures[0]
    return cast(AdapterFactory, manager[plugin.name].plugin)


def _broken(plugin: Plugin, error: BaseException) -> AdapterBroken:
    missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    return _not_imported(plugin, reason(error), missing)


def _not_imported(plugin: Plugin, why: str, missing: str) -> AdapterBroken:
    remedy = f"Reinstall or update it: pip install --upgrade {plugin.distribution}"
    if missing:
        remedy = f"It needs the module {missing!r}: install the package that has it"
    return AdapterBroken(plugin.name, plugin.distribution, plugin.version, why, remedy)


def _clash(plugin: Plugin, listed: list[Plugin]) -> AdapterClash | None:
    try:
        select(plugin.name, listed)
    except AdapterClash as error:
        return error
    return None


def _report(plugin: Plugin, found: Finding) -> PluginReport:
    if found.broken:
        return PluginReport(plugin, _not_imported(plugin, found.broken, found.missing))
    if found.problems:
        return PluginReport(plugin, AdapterInvalid(plugin.name, found.problems))
    return PluginReport(plugin, profile=found.profile, model=found.model, bindings=found.bindings)


def made(name: str, factory: AdapterFactory) -> ModelAdapter:
    """The object that a factory makes, checked.

    Raises:
        AdapterInvalid: it cannot be made, or does not fit.
    """
    try:
        adapter = factory()
    except Exception as error:
        raise AdapterInvalid(name, [f"making it failed: {reason(error)}"]) from error
    check_instance(name, adapter)
    return adapter
