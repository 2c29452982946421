"""Scores of a run that is over, from its journal: no model, no question file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqa_engine.runs.account import score
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable


def score_run(directory: Path, metrics: Sequence[Metric]) -> dict[str, tuple[ScoreTable, ...]]:
    """The scores of every adapter of a run, by label.

    Raises:
        RunError: the directory holds no run.
        JournalError: its journal cannot be read.
    """
    journal = open_journal(directory)
    try:
        return {label: _scores(journal, label, metrics) for label in journal.labels()}
    finally:
        journal.close()


def _scores(journal: Journal, label: str, metrics: Sequence[Metric]) -> tuple[ScoreTable, ...]:
    boards = tuple(Scoreboard(metric) for metric in metrics)
    for row in journal.rows(label):
        score(row, boards)
    return tuple(board.snapshot() for board in boards)
