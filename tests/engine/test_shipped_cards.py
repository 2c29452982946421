"""Each shipped card from its data to its scores: asked, continued, scored again and compared."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Instant
from tests.questions.tables.builders import packed
from tests.questions.tasks.test_layouts import RIGHT, ROWS, served
from vqa_engine import Engine
from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points
from vqa_engine.questions.question_set import why_scored
from vqa_engine.questions.tasks import Task, blinded, find, load_task
from vqa_engine.runs.comparing import Side, compare_runs
from vqa_engine.runs.rescoring import score_run
from vqa_engine.scoring import ScoreTable

ORDERS = ("circular", "all", "shuffled:1")
MOVABLE = ("ai2d", "aokvqa", "mmmu", "scienceqa_img", "seedbench")
"""Cards whose prompts list the choices."""


class Knowing(Instant):
    """Knows that it is a star; elsewhere it says one thing."""

    images_per_question = 2

    def __init__(self, said: str) -> None:
        self.said = said

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        right = "star" in question.choices
        return Answer("ABCD"[question.choices.index("star")] if right else self.said, plan=plan)


class Guessing(Knowing):
    """Is never right."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer("I do not know", plan=plan)


def another(row: dict[str, Any]) -> dict[str, Any]:
    """The same about another picture, with another id."""
    names = [name for name in ("question_id", "questionId", "id", "pid", "idx") if name in row]
    ids: dict[str, Any] = {
        name: row[name] + (1 if isinstance(row[name], int) else "1") for name in names
    }
    image = [packed(2)] if isinstance(row.get("image"), list) else packed(2)
    index = {"index": row["index"] + 1} if "index" in row else {}
    return {**row, **ids, **index, **({"image": image} if "image" in row else {})}


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """The packages are looked at once, which takes most of the time of such short runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry_points, "find", cache(entry_points.find))
        yield


@pytest.fixture(params=find.names())
def task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """A card over twice its rows."""
    rows = ROWS[request.param]
    monkeypatch.setitem(ROWS, request.param, [*rows, *map(another, rows)])
    return served(request.param, tmp_path)


def test_a_card_from_its_data_to_its_scores(
    task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    questions, run = load_task(task), tmp_path / "run"
    knowing = Knowing(RIGHT.get(task.name, "(A)" if task.name == "blink" else "star"))
    with Engine(knowing, isolation="inline") as engine:
        begun = engine.run(load_task(task, limit=1), run)
        blind = engine.run(blinded(questions))
    with Engine([knowing, Guessing("")], isolation="inline") as engine:
        result = engine.run(questions, run)
    (first, *_), (other, *_) = result.scores["knowing"], result.scores["guessing"]
    assert first.overall.percent > other.overall.percent
    assert begun.scores["knowing"][0].overall.count < first.overall.count == len(questions)
    assert blind.scores["knowing"][0].overall.percent == first.overall.percent
    assert why_scored(questions) in " ".join(result.table().split())
    assert questions.headline is None or questions.headline in first.figures
    again = score_run(run).scores["knowing"]
    assert figures(again) == figures(result.scores["knowing"])
    found = compare_runs(Side(run, "guessing"), Side(run, "knowing"))
    assert (found.metric, found.count) == (first.metric, len(questions))
    assert found.difference.value == pytest.approx(first.overall.percent - other.overall.percent)
    assert not caplog.records


def figures(tables: Sequence[ScoreTable]) -> list[tuple[str, list[str]]]:
    return [(table.metric, list(table.figures)) for table in tables]


@pytest.mark.parametrize("name", MOVABLE)
def test_the_right_choice_is_right_in_every_order(name: str, tmp_path: Path) -> None:
    task = served(name, tmp_path)
    with Engine(Knowing("star"), isolation="inline") as engine:
        for order in ORDERS:
            (table, *_) = engine.run(load_task(task, choices=order)).scores["knowing"]
            assert (table.overall.percent, table.unparsed) == (100, 0)
            assert table.figures["baseline: longest choice"].value > 0
            if order != "shuffled:1":
                assert table.figures["circular"].value == 100


@pytest.mark.parametrize("name", sorted({*find.names()} - {*MOVABLE, "mmbench"}))
def test_choices_that_the_prompt_does_not_list_stay(name: str, tmp_path: Path) -> None:
    choices = "inside its questions" if name in {"blink", "mathvista", "mmstar"} else "no choices"
    for order in ORDERS:
        with pytest.raises(ConfigurationError, match=f"{choices}.* ask it with --choices given"):
            load_task(served(name, tmp_path), choices=order)
