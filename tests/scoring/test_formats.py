"""Tables for papers and programs: the figures of aggregates are in them."""

from __future__ import annotations

import json

from tests.builders import a_question
from vqa_engine.scoring import Scoreboard, ScoreTable, metric
from vqa_engine.scoring.formats import formatted


def pope() -> ScoreTable:
    """Of four answers one is a miss and one a false alarm: precision, recall and F1 are 50 %."""
    board = Scoreboard(metric("yes-no-pope"))
    for number, (said, truth) in enumerate([("yes", "yes"), ("no", "no"), ("yes", "no")]):
        board.add(said, a_question(number, answers=(truth,)))
    board.add("no", a_question(3, answers=("yes",)))
    return board.snapshot()


def test_programs_get_what_aggregates_give() -> None:
    rows = json.loads(formatted({"a": (pope(),)}, "json"))
    figures = {row["name"]: row["value"] for row in rows if row["kind"] == "figure"}
    assert figures["F1"] == 50.0
    assert len(figures) == len(pope().figures)


def test_papers_have_a_column_for_each() -> None:
    heading, _, line = formatted({"a": (pope(),)}, "markdown").splitlines()
    cells = dict(zip(heading.split(" | "), line.split(" | "), strict=True))
    assert cells["F1"] == "50.00"
