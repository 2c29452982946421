"""A contender: one adapter with one checkpoint, as an engine was asked to run it."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable

from attrs import field, frozen

from vqa_engine.adapter import BUILTIN, ModelAdapter, ModelRef
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import registry
from vqa_engine.plugins.spec import AdapterSpec

Adapter = str | AdapterSpec | type[ModelAdapter] | ModelAdapter
"""What `Engine(adapters=…)` takes: a name, a spec, a class, or an object."""

DEFAULT = AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN))
"""What runs when no adapter is named: the embedded checkpoint, so that it works offline."""


@frozen(kw_only=True)
class Contender:
    """A spec, how to make its adapter here, and whether a worker could make it as well."""

    spec: AdapterSpec
    make: Callable[[], ModelAdapter] = field(repr=False)
    portable: bool = True

    @property
    def label(self) -> str:
        """What rows and tables call it."""
        return self.spec.label


def contenders(adapters: Iterable[Adapter] | None) -> tuple[Contender, ...]:
    """One contender for each adapter, or the default one.

    Raises:
        ConfigurationError: there are none, or two share a label.
        AdapterError: a name is not installed, or offered twice, or a class does not fit.
    """
    found = tuple(contender(adapter) for adapter in ((DEFAULT,) if adapters is None else adapters))
    if not found:
        raise ConfigurationError("There is no adapter to run: name at least one.")
    twice = [label for label, count in Counter(c.label for c in found).items() if count > 1]
    if twice:
        raise ConfigurationError(
            f"Two adapters are called {twice[0]!r}: give each an AdapterSpec with its own label."
        )
    return found


def contender(adapter: Adapter) -> Contender:
    """The contender for a name, a spec, a class or an object."""
    if isinstance(adapter, str):
        return _from_spec(AdapterSpec(name=adapter))
    if isinstance(adapter, AdapterSpec):
        return _from_spec(adapter)
    if inspect.isclass(adapter):
        return _from_class(adapter)
    return _from_object(adapter)


def _from_spec(spec: AdapterSpec) -> Contender:
    # Another interpreter has plugins of its own, so only its worker can tell.
    if spec.target is None and spec.python is None:
        registry.select(spec.name, registry.find())
    return Contender(spec=spec, make=lambda: registry.make(spec))


def _from_class(adapter: type[ModelAdapter]) -> Contender:
    name = _snake_case(adapter.__name__)
    registry.check(name, adapter)
    target = f"{adapter.__module__}:{adapter.__qualname__}"
    portable = _is_importable(adapter)
    spec = AdapterSpec(name=name, target=target)
    return Contender(spec=spec, make=adapter, portable=portable)


def _from_object(adapter: ModelAdapter) -> Contender:
    kind = type(adapter)
    name = _snake_case(kind.__name__)
    registry.check_instance(name, adapter)
    spec = AdapterSpec(name=name, target=f"{kind.__module__}:{kind.__qualname__}")
    return Contender(spec=spec, make=lambda: adapter, portable=False)


def _is_importable(adapter: type) -> bool:
    """Whether a fresh process finds this very class under its name."""
    if adapter.__module__ == "__main__" or "<locals>" in adapter.__qualname__:
        return False
    return getattr(sys.modules.get(adapter.__module__), adapter.__name__, None) is adapter


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
