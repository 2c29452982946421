"""How the runs were made, from their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vqa_engine.reporting.corpus import Corpus
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.runs.manifest import Manifest


def setup(corpus: Corpus) -> Markup | None:
    """What decided the answers, from the manifests."""
    manifests = {one.run.name: one.run.manifest for one in corpus.contenders if one.run.manifest}
    if not manifests:
        return None
    return join(
        tag("h2", "How it was run"),
        *(_manifest(name, one, len(manifests) > 1) for name, one in manifests.items()),
    )


def _manifest(name: str, manifest: Manifest, several: bool) -> Markup:
    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    adapters = facts.pop("adapters")
    return join(
        tag("h3", name, class_="group") if several else None,
        _facts(facts),
        *(
            tag("details", tag("summary", tag("bdi", label)), _facts(adapters[label]))
            for label in adapters
        ),
    )


def _facts(facts: Mapping[str, Any]) -> Markup:
    """Names and values, nested ones in one line each; what is not set is left out."""
    items = ((name.replace("_", " "), _plain(value)) for name, value in facts.items())
    pairs = (join(tag("dt", name), tag("dd", value, dir="auto")) for name, value in items if value)
    return tag("dl", *pairs, class_="facts")


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        parts = ((name, _plain(part)) for name, part in value.items())
        return ", ".join(f"{str(name).replace('_', ' ')} {part}" for name, part in parts if part)
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "" if value is None or value is False else str(value)
