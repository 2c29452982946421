"""One plugin looked at, in the process that was forked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from vqa_engine.adapter import (
    ChoiceScorer,
    CleanupStrategy,
    MemoryProfile,
    ModelAdapter,
    default_checkpoint,
)
from vqa_engine.errors import AdapterInvalid, BackendError, ConfigurationError
from vqa_engine.memory import backends
from vqa_engine.memory.budget import budget
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.fit import loaded_profile
from vqa_engine.memory.gauges import System
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins import registry
from vqa_engine.plugins.entry_points import Plugin, reason
from vqa_engine.plugins.probe.report import Binding, PluginReport
from vqa_engine.questions.tasks.find import task
from vqa_engine.runs.submissions import submission


def untried(plugin: Plugin) -> PluginReport:
    """A plugin of which nothing is known but its metadata."""
    return PluginReport(
        group=plugin.entry_point.group,
        name=plugin.name,
        state="healthy",
        distribution=plugin.distribution,
        version=plugin.version,
        target=plugin.target,
    )


def look(plugin: Plugin, *, bind: bool) -> PluginReport:
    """Import the plugin, check it, and ask for its estimate; raises nothing."""
    found = untried(plugin)
    try:
        made = plugins.imported(plugin.entry_point)
    except BaseException as error:  # noqa: BLE001  the process is this plugin's alone
        remedy = plugins.remedy(plugin, error)
        return evolve(found, state="broken", reason=reason(error), remedy=remedy)
    if found.group in _CHECKED:
        return _checked(found, _CHECKED[found.group])
    if found.group == plugins.MEMORY_BACKENDS:
        return _backend(found)
    if found.group != plugins.ADAPTERS:
        return found if callable(made) else _invalid(found, f"{made!r} is not callable")
    try:
        return _adapter(found, made, bind=bind)
    except AdapterInvalid as error:
        return _invalid(found, *error.problems)


def _backend(found: PluginReport) -> PluginReport:
    try:
        return evolve(found, library=backends.load(found.name).library)
    except BackendError as error:
        return _invalid(found, str(error))


_CHECKED: dict[str, Callable[[str], object]] = {
    plugins.TASKS: task,
    plugins.SUBMISSIONS: submission,
}
"""The groups whose plugins are not functions, and what reads one by its name."""


def _checked(found: PluginReport, read: Callable[[str], object]) -> PluginReport:
    try:
        read(found.name)
    except ConfigurationError as error:
        return _invalid(found, str(error))
    return found


def _invalid(found: PluginReport, *problems: str) -> PluginReport:
    remedy = f"Report this to the authors of {found.distribution}"
    return evolve(found, state="invalid", reason="; ".join(problems), remedy=remedy)


def _adapter(found: PluginReport, factory: Any, *, bind: bool) -> PluginReport:
    adapter = registry.made(found.name, registry.check(found.name, factory))
    try:
        profile = loaded_profile(adapter)
        scores = isinstance(adapter, ChoiceScorer)
        known = evolve(found, backend=profile.backend, weights=profile.weights, scores=scores)
        model, revision = default_checkpoint(adapter)
    except AdapterInvalid:
        raise
    except BaseException as error:  # noqa: BLE001  the process is this plugin's alone
        return _invalid(found, f"memory_profile() before load failed: {reason(error)}")
    known = evolve(known, model=model, revision=revision)
    return _bound_to_backend(known, adapter, profile) if bind else known


def _bound_to_backend(
    known: PluginReport, adapter: ModelAdapter, profile: MemoryProfile
) -> PluginReport:
    """Each declared strategy, bound to the real backend and unbound again."""
    try:
        library = backends.load(profile.backend).library
        if not library.is_installed:
            return evolve(known, absent=f"pip install '{library.requirement}'")
        counted = backends.backend(profile.backend, profile.device)
    except BackendError as error:
        calls = (Binding(strategy=f"backend {profile.backend}", error=str(error)),)
        return evolve(known, calls=calls)
    controls = MemoryControls(counted, profile, adapter)
    controls.budget = budget(counted, System()).limit
    return evolve(known, calls=tuple(_bound(one, controls) for one in profile.strategies))


def _bound(strategy: CleanupStrategy, controls: MemoryControls) -> Binding:
    try:
        bound = strategy.bind(controls)
    except Exception as error:  # noqa: BLE001  a third party's strategy may raise anything
        return Binding(strategy=strategy.name, error=reason(error))
    if bound.undo is not None:
        bound.undo()
    return Binding(strategy=strategy.name)
