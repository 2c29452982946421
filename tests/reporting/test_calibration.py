"""The calibration of a run in its report."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from tests.builders import a_question
from tests.reporting.builders import a_run, many
from tests.reporting.conftest import write
from vqa_engine.adapter import Answer
from vqa_engine.results import Row


def test_probabilities_are_drawn_without_a_script(tmp_path: Path) -> None:
    said = [("yes", 0.93), ("yes", 0.91), ("no", 0.62)]
    rows = [
        Row(
            adapter="a",
            question=evolve(a_question(), question_id=number),
            answer=Answer(text, probability=probability),
        )
        for number, (text, probability) in enumerate(said)
    ]
    page = write(a_run(tmp_path / "run", rows)).read_text()
    before = page.partition("<script")[0]
    error = (2 * (1 - 0.92) + 0.62) / 3
    assert f"{100 * error:.1f} % expected calibration error, 3 answers" in before
    assert 'class="reliability"' in before
    assert "90–100 %" in before


def test_a_bin_whose_answers_are_all_wrong_is_seen(tmp_path: Path) -> None:
    wrong = Row(adapter="a", question=a_question(), answer=Answer("blue", probability=0.7))
    page = write(a_run(tmp_path / "run", [wrong])).read_text()
    drawing = page.partition('class="reliability"')[2].partition("</svg>")[0]
    assert 'height="1.00"' in drawing


def test_a_run_without_probabilities_has_no_such_part(tmp_path: Path) -> None:
    assert "<h2>Calibration" not in write(a_run(tmp_path / "run", many(4))).read_text()
