"""One plugin looked at, in the process that was forked for it."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from attrs import evolve

from vqa_engine.adapter import CleanupStrategy, MemoryProfile, ModelAdapter, ModelRef, portable
from vqa_engine.errors import AdapterInvalid, BackendError
from vqa_engine.memory.backends import backend
from vqa_engine.memory.budget import budget
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.gauges import System
from vqa_engine.plugins import registry
from vqa_engine.plugins.entry_points import reason
from vqa_engine.plugins.probe.finding import Binding, Finding, Wanted


def look(wanted: Wanted, *, bind: bool) -> Finding:
    """Import the plugin, check it, and take its estimate; raises nothing."""
    found = Finding(number=wanted.number)
    try:
        plugin = metadata.EntryPoint(wanted.name, wanted.target, wanted.group).load()
    except BaseException as error:  # noqa: BLE001  the process is this plugin's alone
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        return evolve(found, broken=reason(error), missing=missing)
    if wanted.group != registry.GROUP:
        problems = () if callable(plugin) else (f"{plugin!r} is not callable",)
        return evolve(found, problems=problems)
    try:
        return _adapter(found, wanted.name, plugin, bind=bind)
    except AdapterInvalid as error:
        return evolve(found, problems=error.problems)


def _adapter(found: Finding, name: str, factory: Any, *, bind: bool) -> Finding:
    registry.check(name, factory)
    adapter = registry.made(name, factory)
    try:
        profile = portable(adapter.memory_profile())
    except BaseException as error:  # noqa: BLE001  the process is this plugin's alone
        problem = f"memory_profile() before load failed: {reason(error)}"
        return evolve(found, problems=(problem,))
    bindings = _bindings(adapter, adapter.memory_profile()) if bind else ()
    return evolve(found, profile=profile, model=_model(adapter), bindings=bindings)


def _model(adapter: ModelAdapter) -> str | None:
    """The default checkpoint, where the adapter has a `default_model`."""
    told = getattr(adapter, "default_model", None)
    told = told.model if isinstance(told, ModelRef) else told
    return told if isinstance(told, str) else None


def _bindings(adapter: ModelAdapter, profile: MemoryProfile) -> tuple[Binding, ...]:
    """Each declared strategy, bound to the real backend and let go again."""
    try:
        counted = backend(profile.backend, profile.device)
    except BackendError as error:
        return (Binding(strategy=f"backend {profile.backend}", error=str(error)),)
    controls = MemoryControls(counted, profile, adapter)
    controls.budget = budget(counted, System()).limit
    return tuple(_bound(strategy, controls) for strategy in profile.strategies)


def _bound(strategy: CleanupStrategy, controls: MemoryControls) -> Binding:
    try:
        bound = strategy.bind(controls)
    except Exception as error:  # noqa: BLE001  a third party's strategy may raise anything
        return Binding(strategy=strategy.name, error=reason(error))
    if bound.undo is not None:
        bound.undo()
    return Binding(strategy=strategy.name)
