"""A run's scores as a table for people."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile

from rich.console import Console, Group, RenderableType
from rich.table import Table

from vqa_engine.scoring import Score, ScoreTable


def score_tables(tables: Mapping[str, Sequence[ScoreTable]], *, title: str | None = None) -> Group:
    """Score tables for people: overall, each type, and errors.

    One adapter has a column for each metric; several have a table for each metric, with a
    column for each adapter.
    """
    if len(tables) == 1:
        ((label, each),) = tables.items()
        return Group(_table([(f"{label}\n{table.metric}", table) for table in each], title))
    names = apart(list(tables))
    metrics = zip(*tables.values(), strict=True)
    return Group(
        *(
            _table(list(zip(names, row, strict=True)), f"{title or 'scores'}, {row[0].metric}")
            for row in metrics
        )
    )


def _table(columns: Sequence[tuple[str, ScoreTable]], title: str | None) -> Table:
    shown = Table(title=title, title_justify="left")
    shown.add_column("accuracy, %  (95 % interval)", no_wrap=True)
    for heading, _ in columns:
        shown.add_column(heading, justify="right", overflow="fold")
    shown.add_row("overall", *(_cell(table.overall) for _, table in columns), end_section=True)
    _add_types(shown, "question type", [table.by_question_type for _, table in columns])
    _add_types(shown, "answer type", [table.by_answer_type for _, table in columns])
    shown.add_row("scored answers", *(str(table.overall.count) for _, table in columns))
    shown.add_row("no answer (error)", *(str(table.errors) for _, table in columns))
    if any(table.unscored for _, table in columns):
        shown.add_row("no ground truth", *(str(table.unscored) for _, table in columns))
    return shown


def as_text(shown: RenderableType, width: int = 100) -> str:
    """Tables as plain text."""
    text = io.StringIO()
    Console(file=text, width=width, no_color=True).print(shown)
    return text.getvalue()


def apart(labels: Sequence[str]) -> list[str]:
    """Labels without the prefix that all of them share, as far as one of its separators.

    `smolvlm@x/256M` and `smolvlm@x/500M` are told apart by what follows the last slash.
    """
    parts = [re.split(r"(?<=[@/])", label) for label in labels]
    columns = zip(*(one[:-1] for one in parts), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    return ["".join(one[shared if len(labels) > 1 else 0 :]) for one in parts]


def _add_types(shown: Table, kind: str, columns: Sequence[Mapping[str, Score]]) -> None:
    names = sorted({name for column in columns for name in column})
    for name in names:
        cells = [_cell(column[name]) if name in column else "–" for column in columns]
        shown.add_row(f"{kind}: {name}", *cells, end_section=name == names[-1])


def _cell(score: Score) -> str:
    if not score.count:
        return "–"
    return f"{score.percent:.2f}  ({score.low:.1f}–{score.high:.1f})"
