"""The calibration of a run in its tables, for people and for spreadsheets."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.builders import a_question
from vqa_engine.scoring import Scoreboard, ScoreTable, metric
from vqa_engine.scoring.formats import formatted
from vqa_engine.scoring.report import as_text, score_tables

CHOICES = ("ant", "bee")


def scored(*said: tuple[str, float | None]) -> ScoreTable:
    """Answers with their probabilities, of which B is right."""
    board = Scoreboard(metric("choice"))
    for number, (text, probability) in enumerate(said):
        board.add(text, a_question(number, choices=CHOICES, right=1), probability)
    return board.snapshot()


SURE = scored(("B", 0.95), ("B", 0.91), ("A", 0.93), ("A", 0.55))
"""93 % sure and right in two of three; 55 % sure and wrong. Error: (3 * 0.263 + 0.55) / 4."""

PLAIN = scored(("B", None))


def test_a_table_has_the_error_and_below_it_the_bins() -> None:
    text = as_text(score_tables({"a": (SURE,), "b": (PLAIN,)}, reliability=True), width=80)
    assert "expected calibration error" in text
    assert "33.5 %" in text
    assert text.count("calibration of") == 1
    (line,) = [line for line in text.splitlines() if "90–100 %" in line]
    assert line.replace("│", "").split() == ["90–100", "%", "3", "93.0", "66.7", "-26.3"]


def test_a_table_without_probabilities_says_nothing_of_them() -> None:
    assert "calibration" not in as_text(score_tables({"b": (PLAIN,)}, reliability=True))
    assert "calibration" not in formatted({"b": (PLAIN,)}, "markdown")


def test_spreadsheets_have_the_error_and_the_bins() -> None:
    rows = list(csv.DictReader(io.StringIO(formatted({"a": (SURE,)}, "csv"))))
    assert rows == [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in json.loads(formatted({"a": (SURE,)}, "json"))
    ]
    (error,) = [row for row in rows if row["kind"] == "calibration"]
    assert (error["percent"], error["questions"]) == ("33.5", "4")
    bins = {row["name"]: row for row in rows if row["kind"] == "probability"}
    assert (bins["90–100 %"]["percent"], bins["90–100 %"]["mean_probability"]) == ("66.7", "93.0")
    assert list(bins) == ["50–60 %", "90–100 %"]


@pytest.mark.parametrize(("form", "mark"), [("markdown", " | "), ("latex", " & ")])
def test_papers_have_the_error_as_a_column(form: str, mark: str) -> None:
    both = {"a": (SURE,), "b": (PLAIN,)}
    first, second = [
        line.rstrip(" |\\").split(mark)[-1]
        for line in formatted(both, form).splitlines()  # type: ignore[arg-type]
        if "choice" in line
    ]
    assert (first, second) == ("33.5", "–" if form == "markdown" else "--")
