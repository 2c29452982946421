"""Scores and comparisons as tables for people."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vqa_engine.console import PlainConsole
from vqa_engine.scoring.comparable import comparable
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.figures import Figure
from vqa_engine.scoring.scoreboard import Score, ScoreTable

NONE = "–"

Column = tuple[str, ScoreTable]


def score_tables(
    tables: Mapping[str, Sequence[ScoreTable]],
    *,
    title: str | None = None,
    why: str = "",
    comparisons: Sequence[Comparison] = (),
    reliability: bool = False,
) -> Group:
    """Score tables for people: overall, other figures, each type, and what was not scored.

    With `reliability` each adapter whose answers have probabilities gets a table of its bins.

    One adapter has a column for each metric; several have a table for each metric, with a
    column for each adapter. `why` says why these metrics, where the engine chose. The last
    lines say which published figures they compare with.
    """
    shown: list[RenderableType] = []
    for columns, heading in _groups(tables, title):
        shown.append(_table(columns, heading))
        shown.extend(Text(line) for line in _remarks(columns))
    shown.extend([comparison_table(comparisons)] if comparisons else [])
    shown.extend(_reliability_tables(tables) if reliability else [])
    names = _metric_names(tables)
    if why and tables:
        shown.append(Text(f"Scored by {', '.join(names)}: {why} (--metric for others)."))
    shown.extend(map(Text, comparable(names, tables)))
    return Group(*shown)


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Differences to the first adapter, in percentage points unless a figure has a unit."""
    first = comparisons[0].first
    shown = Table(title=f"difference to {first}, {comparisons[0].metric}", title_justify="left")
    shown.add_column("points  (95 % interval)")
    for one in comparisons:
        shown.add_column(one.second, justify="right", overflow="fold")
    rows: list[tuple[str, Callable[[Comparison], str]]] = [
        ("overall", lambda one: _signed(one.difference)),
        ("smallest difference these can show", lambda one: _smallest(one.smallest)),
        ("questions", _changes),
        ("McNemar's exact test", _p_value),
        ("questions compared", _questions),
    ]
    for name, cell in rows:
        shown.add_row(name, *map(cell, comparisons))
        if name == "overall":
            for figure in dict.fromkeys(name for one in comparisons for name in one.figures):
                shown.add_row(figure, *(_signed(one.figures.get(figure)) for one in comparisons))
    return shown


def as_text(shown: RenderableType, width: int = 100) -> str:
    """Tables as plain text."""
    text = io.StringIO()
    PlainConsole(file=text, width=width, no_color=True).print(shown)
    return text.getvalue()


def apart(labels: Sequence[str]) -> list[str]:
    """Labels without the prefix that all of them share, as far as one of its separators.

    `smolvlm@x/256M` and `smolvlm@x/500M` are told apart by what follows the last slash.
    """
    parts = [re.split(r"(?<=[@/])", label) for label in labels]
    columns = zip(*(one[:-1] for one in parts), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    return ["".join(one[shared if len(labels) > 1 else 0 :]) for one in parts]


def _groups(
    tables: Mapping[str, Sequence[ScoreTable]], title: str | None
) -> Iterator[tuple[list[Column], str | None]]:
    """Columns that go together, with the title of their table."""
    if len(tables) == 1:
        ((label, each),) = tables.items()
        yield [(f"{label}\n{_name(table)}", table) for table in each], title
        return
    names = apart(list(tables))
    for row in zip(*tables.values(), strict=True):
        yield list(zip(names, row, strict=True)), f"{title or 'scores'}, {_name(row[0])}"


def _table(columns: Sequence[Column], title: str | None) -> Table:
    shown = Table(title=title, title_justify="left")
    shown.add_column("accuracy, %  (95 % interval)", no_wrap=True)
    for heading, _ in columns:
        shown.add_column(heading, justify="right", overflow="fold")
    each = [table for _, table in columns]
    shown.add_row("overall", *(_cell(table.overall) for table in each), end_section=True)
    _add_figures(shown, each)
    _add_types(shown, "question type", [table.by_question_type for table in each])
    _add_types(shown, "answer type", [table.by_answer_type for table in each])
    for name, cell, always in _COUNTS:
        if always or any(cell(table) not in {"0", NONE} for table in each):
            shown.add_row(name, *map(cell, each))
    return shown


def _reliability_tables(tables: Mapping[str, Sequence[ScoreTable]]) -> Iterator[Table]:
    """By the first metric: how often an adapter is right where it is how sure."""
    for label, (first, *_) in tables.items():
        if first.calibration is None:
            continue
        shown = Table(title=f"calibration of {label}, {_name(first)}", title_justify="left")
        for heading in ("probability", "answers", "mean", "accuracy, %", "difference"):
            shown.add_column(heading, justify="right")
        for one in first.calibration.bins:
            mean, accuracy, gap = (100 * part for part in (one.probability, one.accuracy, one.gap))
            shown.add_row(one.name, str(one.count), f"{mean:.1f}", f"{accuracy:.1f}", f"{gap:+.1f}")
        yield shown


def _calibration_error(table: ScoreTable) -> str:
    made = table.calibration
    return NONE if made is None else f"{100 * made.error:.1f} %"


def _share_unread(table: ScoreTable) -> str:
    """Answers that no single answer could be read from, with their share."""
    unread, total = table.unparsed + table.ambiguous, table.overall.count
    return f"{unread}  ({100 * unread / total:.1f} %)" if unread else "0"


_COUNTS: Sequence[tuple[str, Callable[[ScoreTable], str], bool]] = (
    ("scored answers", lambda table: str(table.overall.count), True),
    ("images", lambda table: str(table.overall.clusters), True),
    ("not understood (wrong)", _share_unread, False),
    ("  of these credited by the rule", lambda table: str(table.credited), False),
    ("no answer (error)", lambda table: str(table.errors), True),
    ("no ground truth", lambda table: str(table.unscored), False),
    ("expected calibration error", _calibration_error, False),
)


def _remarks(columns: Sequence[Column]) -> Iterable[str]:
    for _, table in columns:
        if table.failure:
            yield f"The metric {table.metric} has no scores, for it failed: {table.failure}"


def _add_figures(shown: Table, each: Sequence[ScoreTable]) -> None:
    names = list(dict.fromkeys(name for table in each for name in table.figures))
    for name in names:
        cells = (_figure(table.figures.get(name)) for table in each)
        shown.add_row(name, *cells, end_section=name == names[-1])


def _add_types(shown: Table, kind: str, columns: Sequence[Mapping[str, Score]]) -> None:
    names = sorted({name for column in columns for name in column})
    for name in names:
        cells = [_cell(column[name]) if name in column else NONE for column in columns]
        shown.add_row(f"{kind}: {name}", *cells, end_section=name == names[-1])


def _name(table: ScoreTable) -> str:
    return table.metric if table.version == 1 else f"{table.metric} (version {table.version})"


def _metric_names(tables: Mapping[str, Sequence[ScoreTable]]) -> list[str]:
    return [table.metric for table in next(iter(tables.values()), ())]


def _cell(score: Score) -> str:
    if not score.count:
        return NONE
    return f"{score.percent:.2f}  ({score.low:.1f}–{score.high:.1f})"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    if math.isnan(figure.low):
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f}  ({figure.low:.1f}–{figure.high:.1f})"


def _signed(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    if math.isnan(figure.low):
        return f"{figure.value:+.2f}"
    return f"{figure.value:+.2f}  ({figure.low:+.1f} to {figure.high:+.1f})"


def _smallest(points: float) -> str:
    if math.isnan(points):
        return NONE
    return "too few images" if points > 100 else f"{points:.2f}"


def _changes(one: Comparison) -> str:
    better, worse = ("better", "worse") if one.p_value is None else ("fixed", "broken")
    return f"{one.better} {better}, {one.worse} {worse}"


def _p_value(one: Comparison) -> str:
    if one.p_value is None:
        return NONE
    return "p < 0.0001" if one.p_value < 0.0001 else f"p = {one.p_value:.4f}"


def _questions(one: Comparison) -> str:
    images = f"{one.count} about {one.clusters} image{'s' if one.clusters != 1 else ''}"
    return f"{images}; {one.unpaired} not in both" if one.unpaired else images
