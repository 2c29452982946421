"""Scores of a run that is over, from its journal: no model, no question file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.ledger import Ledger
from vqa_engine.scoring import Metric, ScoreTable


def score_run(directory: Path, metrics: Sequence[Metric]) -> dict[str, tuple[ScoreTable, ...]]:
    """The scores of every adapter of a run, by label.

    Raises:
        RunError: the directory holds no run.
        JournalError: its journal cannot be read.
    """
    journal = open_journal(directory)
    try:
        return {
            label: Ledger(label, journal, metrics, total=0).scores() for label in journal.labels()
        }
    finally:
        journal.close()
