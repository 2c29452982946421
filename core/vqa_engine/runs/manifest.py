"""What decided a run's answers: written beside the journal, compared on resume."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from attrs import asdict, frozen

from vqa_engine.adapter import GenerationPlan
from vqa_engine.memory.backends import distributions
from vqa_engine.plugins.provenance import origin
from vqa_engine.plugins.spec import AdapterSpec

FILE = "manifest.json"
"""The manifest's name in a run directory."""

_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


@frozen(kw_only=True)
class AdapterRecord:
    """Which adapter and checkpoint answered under one label.

    `distribution` and `version` are None for a class or object that is no plugin.
    `sha256` is over the adapter's code (`vqa_engine.plugins.provenance`), so that a changed
    adapter is another run. `blas` is the library offered to its worker in place of MLX's
    own (`vqa_engine.blas`); another one rounds otherwise.
    """

    name: str
    distribution: str | None
    version: str | None
    target: str | None
    model: str | None
    revision: str | None
    options: Mapping[str, Any]
    python: str | None
    sha256: str | None = None
    blas: str | None = None


@frozen(kw_only=True)
class Manifest:
    """Everything that decides the answers of a run, and the names of its scores."""

    vqa_engine: str
    python: str
    libraries: Mapping[str, str]
    adapters: Mapping[str, AdapterRecord]
    plan: GenerationPlan
    question_set: str
    question_count: int
    question_digest: str
    metrics: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name this combination."""
        return hashlib.sha256(self.encode()).hexdigest()[:16]

    def encode(self) -> bytes:
        """The manifest as readable JSON, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2)


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        msgspec.MsgspecError: it is no manifest of this version.
    """
    return msgspec.json.decode(data, type=Manifest)


def differences(old: Manifest, new: Manifest) -> dict[str, tuple[object, object]]:
    """Each setting that differs, by dotted name: (old value, new value)."""
    before, after = _flat(asdict(old)), _flat(asdict(new))
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def adapter_record(spec: AdapterSpec, blas: Path | None = None) -> AdapterRecord:
    """The record of one adapter; its distribution comes from metadata, unimported."""
    found = origin(spec)
    return AdapterRecord(
        name=spec.name,
        distribution=found.distribution,
        version=found.version,
        target=spec.target,
        model=spec.model.model,
        revision=spec.model.revision,
        options={name: _told(name, value) for name, value in spec.model.options.items()},
        python=str(spec.python) if spec.python else None,
        sha256=found.sha256,
        blas=str(blas) if blas else None,
    )


def _told(name: str, value: object) -> object:
    """An option's value, or only its hash where the name says that it is a secret.

    Keys belong in the environment; one that was typed as an option by mistake must not
    lie on disk.
    """
    if not _SECRET.search(name) or name.endswith("_env"):
        return value
    return f"sha256:{hashlib.sha256(str(value).encode()).hexdigest()[:16]}"


def libraries() -> dict[str, str]:
    """The installed versions of what can change an answer; one that is absent has no key."""
    names = ("Pillow", *distributions())
    return {name: version for name in names if (version := _version(name))}


def environment() -> tuple[str, str]:
    """The versions of vqa-engine and of Python."""
    return _version("vqa-engine") or "unknown", platform.python_version()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, Mapping) and value:
        return {
            name: leaf
            for key, part in value.items()
            for name, leaf in _flat(part, f"{prefix}{key}.").items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {prefix.rstrip("."): list(value)}
    return {prefix.rstrip("."): value}
