"""The runs that a report is about: opened to read, with their adapters in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import ConfigurationError
from vqa_engine.runs.directory import open_journal, read_manifest
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest


@frozen(kw_only=True)
class Run:
    """One run. `directory` and `manifest` are None for one that was given no output."""

    name: str
    journal: Journal
    directory: Path | None = None
    manifest: Manifest | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The adapters in the order they run, those without a row so far included."""
        asked = tuple(self.manifest.adapters) if self.manifest else ()
        return (*asked, *(label for label in self.journal.labels() if label not in asked))


@contextmanager
def opened(directories: Sequence[Path]) -> Iterator[tuple[Run, ...]]:
    """The runs in these directories; nothing in them is changed, and nothing of them is run.

    Raises:
        RunError: one of them holds no run, or its manifest cannot be read.
        JournalError: a journal cannot be read.
        ConfigurationError: a directory is named twice.
    """
    real = [directory.resolve() for directory in directories]
    if twice := next((path for path in real if real.count(path) > 1), None):
        raise ConfigurationError(f"The run {twice} is named twice; name each run once.")
    journals: list[Journal] = []
    try:
        runs = []
        for path, directory in zip(real, directories, strict=True):
            journals.append(open_journal(directory))
            runs.append(
                Run(
                    name=path.name,
                    journal=journals[-1],
                    directory=directory,
                    manifest=read_manifest(directory),
                )
            )
        yield tuple(runs)
    finally:
        for journal in journals:
            journal.close()
