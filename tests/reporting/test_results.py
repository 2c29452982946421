"""A result shows itself, writes its page and goes to data frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import questions
from tests.fakes import Instant, Raising
from tests.reporting.builders import METRICS
from tests.reporting.test_page import Elements
from vqa_engine import Engine, RunResult


def result(output: Path | None = None) -> RunResult:
    with Engine(adapters=[Instant, Raising], isolation="inline", metrics=METRICS) as engine:
        return engine.run(questions(6), output=output)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["run directory", "in memory"])
def test_a_result_writes_its_page(tmp_path: Path, kept: bool) -> None:
    made = result(tmp_path / "run" if kept else None)
    page = made.report(tmp_path / "report.html")
    text = page.read_text()
    assert all(label in text for label in made.scores)
    assert "odd questions are beyond me" in text


@pytest.mark.slow
def test_a_result_shows_itself_in_a_notebook() -> None:
    text = result()._repr_html_()
    assert {name for name, _ in Elements(text).found} == {
        *("table", "thead", "tbody", "tr", "th", "td", "small")
    }
    assert "100.00 %" in text
    assert ">3<" in text


@pytest.mark.slow
def test_records_are_flat_and_scored(tmp_path: Path) -> None:
    records = list(result(tmp_path / "run").records())
    assert len(records) == 12
    assert len({tuple(record) for record in records}) == 1
    failed = [record for record in records if record["error"]]
    assert len(failed) == 3
    for record in records:
        expected = None if record["error"] else 1.0
        assert record["vqa-v2-normalised"] == record["vqa-v2-official"] == expected


@pytest.mark.slow
def test_records_make_a_data_frame_in_one_call() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(result().records())
    means = frame.groupby("adapter")["vqa-v2-official"].agg(["mean", "count"])
    assert means.to_numpy().tolist() == [[1.0, 6], [1.0, 3]]
