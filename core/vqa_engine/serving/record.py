"""Served answers as rows of a run, so that they are read, scored and shown as any run's are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import msgspec
from attrs import evolve

from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import RunError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Loaded, MemoryEvent, Row
from vqa_engine.runs import manifest
from vqa_engine.runs.directory import RunDirectory
from vqa_engine.runs.manifest import Manifest

_QUESTION_SET = "served"
"""What the manifest of served requests calls its question set, which nobody knows beforehand."""

log = logging.getLogger(__name__)


def served_manifest(specs: Sequence[AdapterSpec], plan: GenerationPlan) -> Manifest:
    """What decides the answers of a server; `plan` is that of a request that asks for none.

    Requests bring no ground truths, so there are no metrics.
    """
    version, python = manifest.environment()
    return Manifest(
        vqa_engine=version,
        python=python,
        adapters={spec.label: manifest.adapter_record(spec) for spec in specs},
        plan=plan,
        question_set=_QUESTION_SET,
        question_count=0,
        question_digest=hashlib.sha256(msgspec.json.encode(_QUESTION_SET)).hexdigest(),
        metrics=(),
    )


def fingerprints(known: Manifest) -> Mapping[str, str]:
    """For each model a name of all that decides its answers, for `system_fingerprint`."""
    return {
        label: f"fp_{evolve(known, adapters={label: one}).digest}"
        for label, one in known.adapters.items()
    }


class Record:
    """Adds each answer to a run's journal, behind those that are there.

    A journal that cannot be written costs no answer: it is logged, and kept as `error`.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory, self._journal = directory, directory.journal
        self.error = ""
        labels = self._journal.labels()
        self._place = sum(self._journal.tally(label).done for label in labels)

    def add(self, rows: Sequence[tuple[Row, tuple[MemoryEvent, ...]]]) -> None:
        """Commit rows, each with its memory events."""
        try:
            for row, events in rows:
                self._journal.record(self._place, row, events)
                self._place += 1
            self._journal.flush()
        except RunError as error:
            self._failed(error)

    def add_events(self, label: str, events: tuple[MemoryEvent, ...]) -> None:
        """Commit memory events that belong to no request."""
        try:
            self._journal.record_events(label, events)
        except RunError as error:
            self._failed(error)

    def add_loaded(self, label: str, loaded: Loaded) -> None:
        """Put what a model is known to have of its own into the manifest."""
        try:
            self._directory.loaded(label, loaded)
        except RunError as error:
            self._failed(error)

    def _failed(self, error: RunError) -> None:
        self.error = str(error)
        log.error("%s", error)
