"""What an engine was asked to run, resolved to adapters that can be created."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable

from attrs import evolve, field, frozen

from vqa_engine.adapter import BUILTIN, ModelAdapter, ModelRef
from vqa_engine.errors import AdapterClash, ConfigurationError
from vqa_engine.plugins import registry
from vqa_engine.plugins.entry_points import ADAPTERS, select
from vqa_engine.plugins.spec import AdapterSpec

Adapter = str | AdapterSpec | type[ModelAdapter] | ModelAdapter
"""What `Engine(adapters=…)` accepts: `NAME` or `NAME@MODEL`, a spec, a class, or an object."""

DEFAULT = AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN), label="demo")
"""What runs when no adapter is named: the embedded checkpoint, so that it works offline."""

DEMO = "The embedded model is a demo, trained on drawn shapes only"
"""What is said of the embedded checkpoint when it is asked about anything else."""


@frozen(kw_only=True)
class ResolvedAdapter:
    """A spec, how to create its adapter here, and whether a worker could create it as well."""

    spec: AdapterSpec
    make: Callable[[], ModelAdapter] = field(repr=False)
    portable: bool = True

    @property
    def label(self) -> str:
        """What rows and tables call it."""
        return self.spec.label


def as_default(spec: AdapterSpec) -> AdapterSpec:
    """The spec of one of our adapters that nobody asked for by name.

    Where another package offers its name as well, it names ours by its class.
    """
    if spec.python is not None:
        return spec
    try:
        select(ADAPTERS, spec.name)
    except AdapterClash:
        return evolve(spec, target=select(ADAPTERS, spec.name, default=True).target)
    return spec


def resolve(adapters: Adapter | Iterable[Adapter] | None) -> tuple[ResolvedAdapter, ...]:
    """One for each adapter; None is the default one, and a single one needs no list.

    Raises:
        ConfigurationError: there are none, or two share a label.
        AdapterError: a name is not installed, or offered twice, or a class does not fit.
    """
    if isinstance(adapters, str) or not isinstance(adapters, Iterable):
        adapters = (as_default(DEFAULT) if adapters is None else adapters,)
    found = tuple(_resolved(adapter) for adapter in adapters)
    if not found:
        raise ConfigurationError("There is no adapter to run; name at least one.")
    label, count = Counter(one.label for one in found).most_common(1)[0]
    if count > 1:
        raise ConfigurationError(
            f"Two adapters have the label {label!r}; give each its own: LABEL=NAME@MODEL."
        )
    return found


def _resolved(adapter: Adapter) -> ResolvedAdapter:
    if isinstance(adapter, str):
        return _from_spec(AdapterSpec.parse(adapter))
    if isinstance(adapter, AdapterSpec):
        return _from_spec(adapter)
    if inspect.isclass(adapter):
        return _from_class(adapter)
    return _from_object(adapter)


def _from_spec(spec: AdapterSpec) -> ResolvedAdapter:
    # Another interpreter has plugins of its own, so only its worker can tell.
    if spec.target is None and spec.python is None:
        name = select(ADAPTERS, spec.name).name
        label = name if spec.label == spec.name else spec.label
        spec = evolve(spec, name=name, label=label)
    return ResolvedAdapter(spec=spec, make=lambda: registry.make(spec))


def _from_class(adapter: type[ModelAdapter]) -> ResolvedAdapter:
    spec = _spec_of(adapter)
    factory = registry.check(spec.name, adapter)
    return ResolvedAdapter(
        spec=spec,
        make=lambda: registry.made(spec.name, factory),
        portable=_is_importable(adapter),
    )


def _from_object(adapter: ModelAdapter) -> ResolvedAdapter:
    spec = _spec_of(type(adapter))
    registry.check_instance(spec.name, adapter)
    return ResolvedAdapter(spec=spec, make=lambda: adapter, portable=False)


def _spec_of(adapter: type) -> AdapterSpec:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", adapter.__name__).lower()
    return AdapterSpec(name=name, target=f"{adapter.__module__}:{adapter.__qualname__}")


def _is_importable(adapter: type) -> bool:
    """Whether a fresh process finds this very class under its name."""
    if adapter.__module__ == "__main__" or "<locals>" in adapter.__qualname__:
        return False
    return getattr(sys.modules.get(adapter.__module__), adapter.__name__, None) is adapter
