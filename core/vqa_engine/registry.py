"""Plugins, in three separate steps: find (from metadata), load (one), check (its shape).

Finding imports nothing, so one broken plugin never harms another, and listing is quick.
Loading goes through stevedore for the one name that was asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Literal, cast

from attrs import frozen
from stevedore import NamedExtensionManager

from vqa_engine import plugins
from vqa_engine.adapter import AdapterSpec, MemoryProfile, ModelAdapter
from vqa_engine.errors import (
    AdapterBroken,
    AdapterClash,
    AdapterError,
    AdapterInvalid,
    AdapterNotInstalled,
)
from vqa_engine.plugins import Plugin, reason

GROUP = "vqa_engine.adapters"
"""The entry-point group of adapters; the entry point's name is the adapter's."""

State = Literal["healthy", "broken", "invalid", "clash"]
AdapterFactory = Callable[[], ModelAdapter]


@frozen
class PluginReport:
    """A plugin and whether it can be used.

    `error` is None when it is healthy; then `profile` is its estimate before loading.
    """

    plugin: Plugin
    error: AdapterError | None = None
    profile: MemoryProfile | None = None

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
    return _made(spec.name, factory)


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


def report(known: Iterable[Plugin] | None = None) -> list[PluginReport]:
    """Try every plugin, and tell the healthy ones from the broken; raises nothing."""
    listed = list(find() if known is None else known)
    return [_report(plugin, listed) for plugin in listed]


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
    problems = _argument_problems(factory)
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
    remedy = f"Reinstall or update it: pip install --upgrade {plugin.distribution}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        remedy = f"It needs the module {error.name!r}: install the package that has it"
    return AdapterBroken(plugin.name, plugin.distribution, plugin.version, reason(error), remedy)


def _report(plugin: Plugin, known: list[Plugin]) -> PluginReport:
    try:
        factory = import_plugin(select(plugin.name, known))
        check(plugin.name, factory)
        profile = _made(plugin.name, factory).memory_profile()
    except AdapterError as error:
        return PluginReport(plugin, error)
    except Exception as error:  # noqa: BLE001  listing must survive whatever a plugin does
        problem = f"memory_profile() before load failed: {reason(error)}"
        return PluginReport(plugin, AdapterInvalid(plugin.name, [problem]))
    return PluginReport(plugin, profile=profile)


def _made(name: str, factory: AdapterFactory) -> ModelAdapter:
    try:
        adapter = factory()
    except Exception as error:
        raise AdapterInvalid(name, [f"making it failed: {reason(error)}"]) from error
    check_instance(name, adapter)
    return adapter


def _argument_problems(factory: Callable[..., object]) -> list[str]:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        return [f"it must be callable without arguments ({error})"]
    except ValueError:
        return []  # a builtin without a signature: calling it will tell
    return []


def missing_methods(owner: object) -> list[str]:
    """The contract's methods that a class or an object lacks, one sentence each."""
    return [
        f"the method {name}({', '.join(parameters)}) is missing"
        for name, parameters in CONTRACT.items()
        if not callable(getattr(owner, name, None))
    ]


def wrong_signatures(owner: object) -> list[str]:
    """The methods that do not take what the engine passes, one sentence each."""
    problems = []
    for name, parameters in CONTRACT.items():
        method = getattr(owner, name, None)
        if callable(method) and not _accepts(method, len(parameters) + _self(owner, name)):
            wanted = ", ".join(("self", *parameters))
            problems.append(f"{name}{_shown(method)} should be {name}({wanted})")
    return problems


def _self(owner: object, name: str) -> int:
    """1 when `owner.name`, looked up on a class, still wants its instance."""
    if not inspect.isclass(owner):
        return 0
    is_free = isinstance(inspect.getattr_static(owner, name), (staticmethod, classmethod))
    return 0 if is_free else 1


def _accepts(method: Callable[..., object], count: int) -> bool:
    """The engine passes positional arguments; any names will do."""
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _shown(method: Callable[..., object]) -> str:
    return f"({', '.join(inspect.signature(method).parameters)})"


CONTRACT: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(getattr(ModelAdapter, name)).parameters)[1:]
    for name in ("load", "answer", "release", "memory_profile")
}
"""The four methods and their parameters, read from the protocol itself."""
