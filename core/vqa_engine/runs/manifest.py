"""What decided a run's answers: written beside the journal, compared on resume."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve, field, frozen

from vqa_engine.adapter import NO_EDGE, GenerationPlan
from vqa_engine.errors import ConfigurationError
from vqa_engine.files import hub_cache
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Loaded
from vqa_engine.runs import provenance
from vqa_engine.runs.checkpoint import folder_digest, hub_commit
from vqa_engine.runs.provenance import Origin

FILE = "manifest.json"
"""The manifest's name in a run directory."""

_EDGE, _NO_EDGE = "image_longest_edge", "none"

_VERSION = re.compile(r"^adapters\..*\.(version|sha256|libraries\.[^.]+|libraries)$")
_COMMITS = (".commit", "question_data")
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


@frozen(kw_only=True)
class AdapterRecord:
    """Which adapter and checkpoint answered under one label.

    `distribution` and `version` are None for a class or object that is no plugin.
    `sha256` is over the adapter's code (`vqa_engine.runs.provenance`), so that a changed
    adapter is another run. `libraries` are the versions of those that can change an answer,
    in the interpreter of its worker. `checkpoint` is a digest of a local model folder.
    `commit` is what the hub cache has for a hub id, None until that is downloaded. `settings`
    are what the adapter's plan has of its own. `image_longest_edge` is the bound in pixels on
    pictures that it has of its own, known once it was loaded; a plan's replaces it.
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
    trust_remote_code: bool = False
    libraries: Mapping[str, str] = field(factory=dict)
    checkpoint: str | None = None
    commit: str | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    image_longest_edge: int | None = None


@frozen(kw_only=True)
class Change:
    """Versions that changed in the middle of a run, by dotted name: (before, after).

    `accepted` is when, in ISO 8601.
    """

    accepted: str
    versions: Mapping[str, tuple[object, object]]


@frozen(kw_only=True)
class Manifest:
    """Everything that decides the answers of a run, and the names of its scores.

    `question_data` is the data set and commit that the questions were downloaded from: their
    digest holds the names of packed pictures, not the pictures. `changes` were accepted while
    it went on.
    """

    vqa_engine: str
    python: str
    adapters: Mapping[str, AdapterRecord]
    plan: GenerationPlan
    question_set: str
    question_count: int
    question_digest: str
    metrics: tuple[str, ...]
    question_data: str | None = None
    changes: tuple[Change, ...] = ()

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name this combination, whatever was downloaded by now."""
        adapters = {
            label: evolve(one, commit=None) for label, one in _unloaded(self.adapters).items()
        }
        return hashlib.sha256(evolve(self, adapters=adapters).encode()).hexdigest()[:16]

    def encode(self) -> bytes:
        """The manifest as readable JSON, keys in a fixed order.

        Raises:
            ConfigurationError: a setting is not valid Unicode.
        """
        try:
            data = msgspec.json.encode(_shown(self), order="sorted")
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"A setting of this run is not valid Unicode: {error.object!r:.100}; write it in "
                "UTF-8."
            ) from error
        return msgspec.json.format(data, indent=2)


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        msgspec.MsgspecError: it is no manifest of this version.
    """
    raw = msgspec.json.decode(data, type=dict[str, Any])
    plan = raw.get("plan")
    if isinstance(plan, dict) and plan.get(_EDGE) == _NO_EDGE:
        plan[_EDGE] = NO_EDGE
    return msgspec.convert(raw, Manifest)


def _shown(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain values, as people read it: no bound on pictures is "none"."""
    found: dict[str, Any] = msgspec.to_builtins(manifest)
    for one in (found["plan"], *(adapter["settings"] for adapter in found["adapters"].values())):
        if one.get(_EDGE) == NO_EDGE:
            one[_EDGE] = _NO_EDGE
    return found


def differences(old: Manifest, new: Manifest) -> dict[str, tuple[object, object]]:
    """Each setting that differs, by dotted name: (old value, new value).

    Only adapters that both have are compared. Metrics decide no answer, and a commit that
    was not known and now is makes no difference. An adapter's own bound follows from its code.
    """
    shared = old.adapters.keys() & new.adapters.keys()
    before, after = _compared(old, shared), _compared(new, shared)
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
        and not (name.endswith(_COMMITS) and before.get(name) is None)
    }


def is_version(name: str) -> bool:
    """Whether a difference of this name is a version of code, which --accept-changes accepts."""
    return name in {"vqa_engine", "python"} or bool(_VERSION.search(name))


def grown(old: Manifest, new: Manifest, changed: Mapping[str, tuple[object, object]]) -> Manifest:
    """The manifest of a run that goes on with more adapters, more questions or new versions."""
    change = Change(accepted=datetime.now(UTC).isoformat(timespec="seconds"), versions=changed)
    return evolve(
        new,
        adapters={**old.adapters, **_still_known(old.adapters, new.adapters)},
        changes=(*old.changes, change) if changed else old.changes,
    )


def _unloaded(adapters: Mapping[str, AdapterRecord]) -> dict[str, AdapterRecord]:
    """The records without what only a load shows."""
    return {label: evolve(one, image_longest_edge=None) for label, one in adapters.items()}


def _still_known(
    old: Mapping[str, AdapterRecord], new: Mapping[str, AdapterRecord]
) -> dict[str, AdapterRecord]:
    """The new records, with what a load has shown before."""
    return {
        label: evolve(one, image_longest_edge=old[label].image_longest_edge)
        if label in old and one.image_longest_edge is None
        else one
        for label, one in new.items()
    }


def _compared(manifest: Manifest, labels: Set[str]) -> dict[str, object]:
    adapters = {label: one for label, one in manifest.adapters.items() if label in labels}
    adapters = _unloaded(adapters)
    return _flat(_shown(evolve(manifest, adapters=adapters, metrics=(), changes=())))


def with_commits(manifest: Manifest) -> Manifest:
    """The manifest with the commits that the hub cache has by now."""
    adapters = {
        label: one if one.commit else evolve(one, commit=_commit(one))
        for label, one in manifest.adapters.items()
    }
    return evolve(manifest, adapters=adapters)


def with_bound(manifest: Manifest, label: str, loaded: Loaded) -> Manifest:
    """The manifest with the bound on pictures that a loaded adapter has of its own."""
    record = manifest.adapters[label]
    known = evolve(record, image_longest_edge=loaded.profile.image_longest_edge)
    return evolve(manifest, adapters={**manifest.adapters, label: known})


def adapter_record(spec: AdapterSpec) -> AdapterRecord:
    """The record of one adapter; its distribution comes from metadata, unimported."""
    found = provenance.origin(spec)
    record = _record(spec, found)
    return evolve(record, commit=_commit(record))


def _record(spec: AdapterSpec, found: Origin) -> AdapterRecord:
    return AdapterRecord(
        name=spec.name,
        distribution=found.distribution,
        version=found.version,
        target=None if found.distribution else spec.target,
        model=spec.model.model,
        revision=spec.model.revision,
        options={name: _told(name, value) for name, value in spec.model.options.items()},
        python=str(spec.python) if spec.python else None,
        sha256=found.sha256,
        trust_remote_code=spec.model.trust_remote_code,
        settings=dict(spec.settings),
        libraries=found.libraries,
        checkpoint=folder_digest(spec.model.model) if spec.model.model else None,
    )


def _commit(record: AdapterRecord) -> str | None:
    """The commit of a hub id in the local cache; what the adapter loads by default counts.

    Without a cache nothing was downloaded, and the adapter need not be asked.
    """
    if record.checkpoint or not any(hub_cache().glob("models--*")):
        return None
    model, revision = record.model, record.revision
    if model is None and record.target is None:
        python = Path(record.python) if record.python else None
        model, own = provenance.default_model(record.name, python)
        revision = revision or own
    return hub_commit(model, revision) if model else None


def _told(name: str, value: object) -> object:
    """An option's value, or only its hash where the name says that it is a secret.

    Keys belong in the environment; one that was typed as an option by mistake must not
    lie on disk.
    """
    if not _SECRET.search(name) or name.endswith("_env"):
        return value
    return f"sha256:{hashlib.sha256(str(value).encode()).hexdigest()[:16]}"


def environment() -> tuple[str, str]:
    """The versions of vqa-engine and of Python."""
    return provenance.version("vqa-engine") or "unknown", platform.python_version()


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
