"""Adapters: loaded, created, and checked against `ModelAdapter`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import metadata
from typing import Any, cast

from vqa_engine.adapter import ModelAdapter
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import AdapterBroken, AdapterInvalid
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import ADAPTERS, FAILURES, Plugin, reason
from vqa_engine.plugins.signatures import argument_problems, missing_methods, wrong_signatures
from vqa_engine.plugins.spec import AdapterSpec

AdapterFactory = Callable[[], ModelAdapter]


def find() -> list[Plugin]:
    """Every adapter, sorted by name, then distribution; imports none of them."""
    return plugins.find(ADAPTERS)


def load(name: str) -> AdapterFactory:
    """Import one adapter and check it.

    Raises:
        AdapterNotInstalled: no plugin has this name.
        AdapterClash: two distributions offer it.
        AdapterBroken: its import failed.
        AdapterInvalid: it does not fit `ModelAdapter`.
    """
    return check(name, plugins.load(ADAPTERS, name))


def make(spec: AdapterSpec) -> ModelAdapter:
    """The adapter object that a spec names, checked, not loaded.

    Raises:
        AdapterError: as `load` does; also when the object cannot be created.
    """
    factory = _load_target(spec.name, spec.target) if spec.target else load(spec.name)
    return made(spec.name, factory)


def _load_target(name: str, target: str) -> AdapterFactory:
    """Import a class that is no plugin, by `module:qualified.name`, and check it.

    Raises:
        AdapterBroken: the import failed.
        AdapterInvalid: it does not fit `ModelAdapter`.
    """
    try:
        factory = plugins.imported(metadata.EntryPoint(name, target, ADAPTERS))
    except FAILURES as error:
        advice = "The worker process must be able to import it; pass an instance to run inline"
        raise AdapterBroken(name, target, "(no plugin)", reason(error), advice) from error
    return check(name, factory)


def check(name: str, factory: Any) -> AdapterFactory:
    """Check that `factory` creates objects that fit `ModelAdapter`, and return it.

    Of a factory function nothing is known before it is called; its result goes through
    `check_instance`.

    Raises:
        AdapterInvalid: naming each method that is missing or has another signature.
    """
    if not callable(factory):
        raise AdapterInvalid(name, [_no_factory(factory)])
    problems = argument_problems(factory)
    if inspect.isclass(factory):
        problems += missing_methods(factory) + wrong_signatures(factory)
    if problems:
        raise AdapterInvalid(name, problems)
    return cast(AdapterFactory, factory)


def _no_factory(found: object) -> str:
    if inspect.ismodule(found):
        return (
            f"its entry point names the module {found.__name__!r} and no class in it: "
            f"write '{found.__name__}:ClassName'"
        )
    return f"{found!r} is neither a class nor a function"


def made(name: str, factory: AdapterFactory) -> ModelAdapter:
    """The object that a factory creates, checked.

    Raises:
        AdapterInvalid: it cannot be created, or does not fit.
    """
    try:
        adapter = called(factory)
    except Exception as error:
        raise AdapterInvalid(name, [f"creating it failed: {reason(error)}"]) from error
    check_instance(name, adapter)
    return adapter


def check_instance(name: str, adapter: object) -> None:
    """Check that an adapter object has the four methods with the right signatures.

    Raises:
        AdapterInvalid: naming each method that does not fit.
    """
    try:
        problems = called(missing_methods, adapter) + called(wrong_signatures, adapter)
    except Exception as error:
        raise AdapterInvalid(name, [f"looking at it failed: {reason(error)}"]) from error
    if problems:
        raise AdapterInvalid(name, problems)
