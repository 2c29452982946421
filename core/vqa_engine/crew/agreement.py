"""Whether a place loaded the same adapter and checkpoint as the others."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.crew.place import Presence
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.runs.manifest import AdapterRecord, adapter_record

_EQUAL = ("distribution", "version", "sha256", "checkpoint", "commit")
"""What has to be equal everywhere, as far as it is known: which adapter, and which weights.
Other libraries and devices may change an answer in its last digit; they are recorded."""


class Agreement:
    """What all places of one adapter have in common, as it becomes known."""

    def __init__(self, spec: AdapterSpec) -> None:
        self._spec = spec
        self._known: AdapterRecord | None = None

    def join(self, presence: Presence) -> str:
        """Take a place in; what it has that is not as here, for the record.

        Raises:
            ConfigurationError: it has another adapter or checkpoint.
        """
        theirs = presence.record
        facts = [f"{name} {value}" for name, value in presence.facts.items()]
        if theirs is None:
            return ", ".join(facts)
        ours = self._known = self._known or adapter_record(self._spec)
        if wrong := [name for name in _EQUAL if _differ(ours, theirs, name)]:
            shown = "; ".join(
                f"{name}: {getattr(theirs, name)} there, {getattr(ours, name)} here"
                for name in wrong
            )
            raise ConfigurationError(
                f"The place {presence.name} is refused for {self._spec.label!r}, because it has "
                f"another adapter or checkpoint ({shown}). Install and download the same there."
            )
        unknown = {name: getattr(theirs, name) for name in _EQUAL if getattr(ours, name) is None}
        self._known = evolve(ours, **unknown)
        return ", ".join(facts + _libraries(ours, theirs))


def _libraries(ours: AdapterRecord, theirs: AdapterRecord) -> list[str]:
    """Those that are not the same as here."""
    here, there = ours.libraries, theirs.libraries
    return [
        f"{name} {there.get(name, 'missing')} (here {here.get(name, 'missing')})"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]


def _differ(ours: AdapterRecord, theirs: AdapterRecord, name: str) -> bool:
    own, other = getattr(ours, name), getattr(theirs, name)
    return own is not None and other is not None and own != other
