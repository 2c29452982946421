"""Existing runs, opened to read: their journals and manifests, and what of them is damaged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import ConfigurationError, RunError
from vqa_engine.files import real
from vqa_engine.runs.database import READING, SALVAGING
from vqa_engine.runs.directory import open_journal, read_manifest
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Run:
    """One run.

    `directory` is None for one that was given no output. So is `manifest`, and where that of a
    damaged run cannot be read.
    """

    name: str
    journal: Journal
    directory: Path | None = None
    manifest: Manifest | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The adapters in the order they run, those without a row so far included."""
        asked = tuple(self.manifest.adapters) if self.manifest else ()
        return (*asked, *(label for label in self.journal.labels() if label not in asked))

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it was scored by, with figures beyond the mean, where it has noted that."""
        return self.manifest.metrics if self.manifest else ()

    @property
    def digest(self) -> str | None:
        """That of its questions, where it is known."""
        return self.manifest.question_digest if self.manifest else None

    @property
    def question_count(self) -> int | None:
        """How many questions it has, where that is known."""
        return self.manifest.question_count if self.manifest else None


@contextmanager
def opened(directories: Sequence[Path], *, salvage: bool = False) -> Iterator[tuple[Run, ...]]:
    """The runs in these directories; nothing in them is changed, and nothing of them is run.

    With `salvage`, what cannot be read of a damaged run is left out: its rows, with a warning
    that counts them, or its manifest.

    Raises:
        RunError: one of them holds no run, or its manifest cannot be read.
        JournalError: a journal cannot be read.
        ConfigurationError: a directory is named twice.
    """
    paths = list(map(real, directories))
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise ConfigurationError(f"The run {twice} is named twice; name each run once.")
    journals: list[Journal] = []
    try:
        runs = []
        for path, directory in zip(paths, directories, strict=True):
            journals.append(open_journal(directory, salvage=salvage))
            runs.append(
                Run(
                    name=path.name,
                    journal=journals[-1],
                    directory=directory,
                    manifest=_manifest(directory, salvage),
                )
            )
            _warn_of_unread(journals[-1])
        yield tuple(runs)
    finally:
        for journal in journals:
            journal.close()


def _manifest(directory: Path, salvage: bool) -> Manifest | None:
    try:
        return read_manifest(directory, SALVAGING if salvage else READING)
    except RunError as error:
        if not salvage:
            raise
        log.warning("%s", error)
        return None


def _warn_of_unread(journal: Journal) -> None:
    if journal.unread:
        rows = "1 of its rows" if journal.unread == 1 else f"{journal.unread:,} of its rows"
        log.warning("%s is damaged: %s cannot be read, and left out", journal.path, rows)
