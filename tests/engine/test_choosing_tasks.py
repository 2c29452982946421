"""A multiple-choice task answered by likelihood, in every order of its choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes import Instant
from tests.questions.tables.builders import picture
from vqa_engine import Engine
from vqa_engine.adapter import ChoiceScores, Choose, GenerationPlan, Question
from vqa_engine.outcome import RunResult, open_run
from vqa_engine.questions.tasks import find, load_task

CARD = """
task = "parts"
title = "Parts of diagrams, shaped as AI2D"
version = 1
[data]
files = ["parts.csv"]
[columns]
image = "image"
question = "question"
choices = "options"
right = { column = "answer", as = "index" }
lists = { options = "literal" }
[prompt]
text = "{question}{options}\\nAnswer with the option's letter from the given choices directly."
[score]
metrics = ["choice"]
"""

ROWS = """image,question,options,answer
a.png,Which part is the root?,"['B', 'A', 'C', 'D']",1
a.png,Which is a leaf?,"['stem', 'leaf', 'root', 'bud']",1
"""
"""The right texts are A, which is the letter of another choice, and leaf."""


class Botanist(Instant):
    """Knows the right texts, wherever they come, and is 90 % sure of them."""

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        assert question.worded
        assert question.text.endswith("directly.")
        right = next(place for place, text in enumerate(question.choices) if text in {"A", "leaf"})
        scores = (0.0 if place == right else -9.0 for place in range(len(options)))
        return ChoiceScores(loglikelihoods=tuple(scores))


def answered(folder: Path, choose: Choose, choices: str, limit: int | None = None) -> RunResult:
    (folder / "a.png").write_bytes(picture())
    (folder / "parts.csv").write_text(ROWS)
    (folder / "parts.toml").write_text(CARD)
    task = find.task(str(folder / "parts.toml"))
    plan = GenerationPlan(choose=choose)
    with Engine(Botanist, plan=plan, isolation="inline") as engine:
        return engine.run(load_task(task, choices=choices, limit=limit), folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize("choose", ["likelihood", "likelihood-text"])
@pytest.mark.parametrize(
    ("choices", "count"), [("given", 2), ("shuffled:7", 2), ("circular", 8), ("all", 48)]
)
def test_every_order_is_right(tmp_path: Path, choose: Choose, choices: str, count: int) -> None:
    result = answered(tmp_path, choose, choices)
    (table,) = result.scores["botanist"]
    assert (table.overall.percent, table.overall.count) == (100, count)
    assert table.unparsed == table.ambiguous == 0
    assert {row.chosen for row in result.rows()} == {"A", "leaf"}


def test_a_run_by_likelihood_grows_and_is_scored_again(tmp_path: Path) -> None:
    answered(tmp_path, "likelihood-text", "circular", limit=1)
    grown = answered(tmp_path, "likelihood-text", "circular")
    assert sum(1 for _ in grown.rows()) == 8
    ((new,), (again,)) = (one.scores["botanist"] for one in (grown, open_run(tmp_path / "run")))
    assert again.calibration == new.calibration
    assert new.calibration is not None
    assert new.calibration.count == 8
