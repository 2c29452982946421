"""A run's scores as a table for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from vqa_engine.scoring import Score, ScoreTable


def score_table(tables: Mapping[str, Sequence[ScoreTable]], *, title: str | None = None) -> Table:
    """A column for each label and metric; a row overall, for each type, and for errors."""
    columns = [(label, table) for label, each in tables.items() for table in each]
    shown = Table(title=title, title_justify="left")
    shown.add_column("accuracy, %  (95 % interval)")
    for label, table in columns:
        shown.add_column(f"{label}\n{table.metric}", justify="right")
    shown.add_row("overall", *(_cell(table.overall) for _, table in columns), end_section=True)
    _add_types(shown, "question type", [table.by_question_type for _, table in columns])
    _add_types(shown, "answer type", [table.by_answer_type for _, table in columns])
    shown.add_row("scored answers", *(str(table.overall.count) for _, table in columns))
    shown.add_row("no answer (error)", *(str(table.errors) for _, table in columns))
    if any(table.unscored for _, table in columns):
        shown.add_row("no ground truth", *(str(table.unscored) for _, table in columns))
    return shown


def as_text(table: Table, width: int = 100) -> str:
    """The table as plain text."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(table)
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # it is a StringIO


def _add_types(shown: Table, kind: str, columns: Sequence[Mapping[str, Score]]) -> None:
    names = sorted({name for column in columns for name in column})
    for name in names:
        cells = [_cell(column[name]) if name in column else "–" for column in columns]
        shown.add_row(f"{kind}: {name}", *cells, end_section=name == names[-1])


def _cell(score: Score) -> str:
    if not score.count:
        return "–"
    return f"{score.percent:.2f}  ({score.low:.1f}–{score.high:.1f})"
