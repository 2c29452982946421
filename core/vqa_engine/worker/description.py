"""One adapter described for people: its options, its needs, its licence, its checkpoints."""

from __future__ import annotations

import inspect
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from attrs import NOTHING, Attribute, fields, frozen, has

from vqa_engine.adapter import (
    MemoryProfile,
    ModelAdapter,
    ModelAware,
    default_checkpoint,
    images_per_question,
    portable,
)
from vqa_engine.adapter.crossing import called
from vqa_engine.files import hub_cache
from vqa_engine.memory.fit import loaded_profile
from vqa_engine.plugins.entry_points import ADAPTERS, select

_UNSTATED = "not stated"


@frozen(kw_only=True)
class Option:
    """One field of an adapter's `options` class, as `--adapter-option` sets it."""

    name: str
    type: str
    default: Any


@frozen(kw_only=True)
class Description:
    """An adapter. `about` is what its class says, `notes` what its options class says.

    `needs` are the lines of its memory estimate, `cached` the checkpoints in the hub's cache
    that it runs, None where it does not say which it runs. `images` is the most images of a
    question, None where each checkpoint has a number of its own.
    """

    name: str
    source: str
    licence: str
    about: str
    model: str | None
    profile: MemoryProfile
    options: tuple[Option, ...]
    notes: str
    cached: tuple[str, ...] | None
    images: int | None


def describe(adapter: ModelAdapter, name: str) -> Description:
    """Describe an installed adapter: an optional class attribute `options` is an attrs class
    of what `ModelRef.options` may hold, `model_types` are the `config.json` types it runs.

    Raises:
        AdapterError: it is not installed.
    """
    plugin = select(ADAPTERS, name)
    kind = getattr(adapter, "options", None)
    typed = kind if inspect.isclass(kind) and has(kind) else None
    types = getattr(adapter, "model_types", None)
    model = default_checkpoint(adapter)[0]
    varies = model is None and isinstance(adapter, ModelAware)
    return Description(
        name=plugin.name,
        source=plugin.source,
        licence=_licence(plugin.entry_point),
        about=_first(type(adapter)),
        model=model,
        profile=portable(loaded_profile(adapter)),
        options=tuple(map(_option, fields(typed))) if typed else (),
        notes=_notes(typed) if typed else "",
        cached=None if types is None else tuple(_cached(tuple(types))),
        images=None if varies else called(images_per_question, adapter),
    )


def _option(one: Attribute[Any]) -> Option:
    factory = getattr(one.default, "factory", None)
    default = factory() if factory else one.default
    shown = one.type if isinstance(one.type, str) else getattr(one.type, "__name__", one.type)
    return Option(name=one.name, type=str(shown), default=None if default is NOTHING else default)


def _notes(options: type) -> str:
    """What the class of the options and those that it extends say of them, below their titles."""
    texts = [inspect.cleandoc(one.__doc__ or "") for one in reversed(options.__mro__) if has(one)]
    bodies = [text.partition("\n\n")[2] for text in texts]
    return "\n\n".join(filter(None, bodies)) or texts[-1]


def _licence(entry: metadata.EntryPoint) -> str:
    if entry.dist is None:
        return _UNSTATED
    found = entry.dist.metadata
    named = (found[key] for key in ("License-Expression", "License") if key in found)
    return next(named, _UNSTATED)


def _first(kind: type) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(kind) or "").partition("\n\n")[0])


def _cached(types: tuple[str, ...]) -> list[str]:
    """Checkpoints in the hub's cache of these types, or of any when there are none."""
    found = set()
    for config in hub_cache().glob("models--*/snapshots/*/config.json"):
        if not types or _model_type(config) in types:
            folder = config.relative_to(hub_cache()).parts[0]
            found.add(folder.removeprefix("models--").replace("--", "/"))
    return sorted(found)


def _model_type(config: Path) -> str | None:
    try:
        found = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return None
    return found.get("model_type") if isinstance(found, dict) else None
