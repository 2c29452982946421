"""Score tables for papers, spreadsheets and programs: Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from vqa_engine.scoring.figures import Figure
from vqa_engine.scoring.report import apart
from vqa_engine.scoring.scoreboard import Score, ScoreTable

Format = Literal["markdown", "latex", "csv", "json"]
FORMATS = get_args(Format)

Tables = Mapping[str, Sequence[ScoreTable]]

_DECIMALS = 1
"""Of percentages: a run of 10,000 questions is known to about one point."""

_COLUMNS = "kind name percent value low high questions no_answer mean_probability"
_BLANK: Mapping[str, object] = dict.fromkeys(_COLUMNS.split())
"""What each figure has, in the order of the columns."""

_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"–": "--", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
"""https://en.wikibooks.org/wiki/LaTeX/Special_Characters"""


def formatted(tables: Tables, form: Format) -> str:
    """The tables in one of the formats.

    Markdown and LaTeX have a line for each model and metric, CSV and JSON one for each
    figure. Percentages are rounded to a decimal, what aggregates give (F1, points) to two.
    """
    match form:
        case "markdown":
            return _markdown(*_grid(tables))
        case "latex":
            return _latex(*_grid(tables))
        case "csv":
            return _csv(list(_figures(tables)))
        case "json":
            return msgspec.json.format(
                msgspec.json.encode(list(_figures(tables))), indent=2
            ).decode()


def _grid(tables: Tables) -> tuple[list[str], list[list[str]]]:
    """The heading and the lines of a table for people."""
    every = [one for each in tables.values() for one in each]
    kinds = sorted({kind for one in every for kind in one.by_answer_type})
    more = list(dict.fromkeys(name for one in every for name in _measured(one)))
    sure = any(one.calibration for one in every)
    heading = ["model", "metric", "accuracy, % (95 % interval)", *more, *kinds]
    heading += ["questions", "no answer"]
    heading += ["calibration error, %"] if sure else []
    lines = [
        [
            name,
            one.metric,
            _interval(one.overall),
            *(_value(one.figures.get(name)) for name in more),
            *(_percent(one.by_answer_type.get(kind)) for kind in kinds),
            str(one.overall.count),
            str(one.errors),
            *([_error(one)] if sure else ()),
        ]
        for name, each in zip(apart(list(tables)), tables.values(), strict=True)
        for one in each
    ]
    return heading, lines


def _measured(table: ScoreTable) -> Iterator[str]:
    """What aggregates say of the model; what describes the set has no interval."""
    return (name for name, figure in table.figures.items() if not math.isnan(figure.low))


def _figures(tables: Tables) -> Iterator[dict[str, object]]:
    """Every figure by itself, as spreadsheets want it."""
    for label, each in tables.items():
        for table in each:
            known = {"model": label, "metric": table.metric, "version": table.version}
            for figure in _of(table):
                yield {**known, **_BLANK, **figure}


def _of(table: ScoreTable) -> Iterator[dict[str, object]]:
    """What there is to say of one metric: means, what aggregates give, then calibration."""
    parts = {("overall", ""): table.overall}
    parts |= {("question type", name): one for name, one in table.by_question_type.items()}
    parts |= {("answer type", name): one for name, one in table.by_answer_type.items()}
    for (kind, name), score in parts.items():
        yield {
            "kind": kind,
            "name": name,
            "percent": _rounded(score.percent),
            "low": _rounded(score.low),
            "high": _rounded(score.high),
            "questions": score.count,
            "no_answer": table.errors if kind == "overall" else None,
        }
    for name, figure in table.figures.items():
        low, high = _rounded(figure.low), _rounded(figure.high)
        yield {
            "kind": "figure",
            "name": name,
            "value": _rounded(figure.value, 2),
            "low": low,
            "high": high,
        }
    if made := table.calibration:
        yield {
            "kind": "calibration",
            "name": "expected error",
            "percent": _rounded(100 * made.error),
            "questions": made.count,
        }
        for one in made.bins:
            yield {
                "kind": "probability",
                "name": one.name,
                "percent": _rounded(100 * one.accuracy),
                "questions": one.count,
                "mean_probability": _rounded(100 * one.probability),
            }


def _markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", "---", *("---:" for _ in heading[2:])]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (heading, rule, *lines))
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def _latex(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [" & ".join(cell.translate(_SPECIAL) for cell in line) for line in (heading, *lines)]
    body = "".join(f"{row} \\\\\n" for row in rows[1:])
    columns = "ll" + "r" * (len(heading) - 2)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\hline\n{rows[0]} \\\\\n\\hline\n{body}\\hline\n"
        "\\end{tabular}\n"
    )


def _csv(figures: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(figures[0]) if figures else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures)
    return text.getvalue()


def _interval(score: Score) -> str:
    if not score.count:
        return "–"
    return f"{_percent(score)} ({score.low:.{_DECIMALS}f}–{score.high:.{_DECIMALS}f})"


def _percent(score: Score | None) -> str:
    return "–" if score is None or not score.count else f"{score.percent:.{_DECIMALS}f}"


def _value(figure: Figure | None) -> str:
    return "–" if figure is None or math.isnan(figure.value) else f"{figure.value:.2f}"


def _error(table: ScoreTable) -> str:
    made = table.calibration
    return "–" if made is None else f"{100 * made.error:.{_DECIMALS}f}"


def _rounded(number: float, decimals: int = _DECIMALS) -> float | None:
    return None if math.isnan(number) else round(number, decimals)
