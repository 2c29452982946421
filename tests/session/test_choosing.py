"""Multiple choice by likelihood, as a run asks it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Instant, Scoring
from vqa_engine import Engine, Question
from vqa_engine.adapter import ChoiceScores, GenerationPlan
from vqa_engine.errors import ConfigurationError
from vqa_engine.outcome import open_run
from vqa_engine.results import Row

CHOICES = ("ant", "bee", "zebra")


def question(**fields: Any) -> Question:
    return Question(question_id=1, image=b"", text="What is it?", right=1, **fields)


def rows(choose: Any, *questions: Question, adapter: Any = Scoring) -> list[Row]:
    with Engine(adapter, plan=GenerationPlan(choose=choose), isolation="inline") as engine:
        return list(engine.answers(questions))


def test_the_likeliest_letter_is_the_answer_with_its_probability() -> None:
    [row] = rows("likelihood", question(choices=CHOICES))
    assert row.answer is not None
    assert (row.answer.text, row.answer.choice, row.answer.logprob) == ("C", 2, -33.0)
    assert row.answer.loglikelihoods == (-35.0, -34.0, -33.0)
    assert row.answer.probability == pytest.approx(1 / (1 + math.exp(-1) + math.exp(-2)))


def test_texts_are_compared_per_byte() -> None:
    class Even(Instant):
        def score_choices(self, *_: object) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=(-6.0, -5.0, -8.0))

    [row] = rows("likelihood-text", question(choices=CHOICES), adapter=Even)
    assert row.answer is not None
    assert (row.answer.text, row.answer.logprob) == ("zebra", -8.0)
    shares = [math.exp(one) for one in (-6 / 3, -5 / 3, -8 / 5)]
    assert row.answer.probability == pytest.approx(shares[2] / sum(shares))


def test_a_question_without_choices_is_answered_as_ever() -> None:
    [row] = rows("likelihood", Question(question_id=1, image=b"", text="What is it?"))
    assert row.answer is not None
    assert (row.answer.text, row.answer.probability) == ("yes", None)


def test_scores_that_do_not_fit_cost_the_question() -> None:
    class Short(Instant):
        def score_choices(self, *_: object) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=(1.0,))

    [row] = rows("likelihood", question(choices=CHOICES), adapter=Short)
    assert row.failure is not None
    assert "for 3 options" in row.failure.message


def test_an_adapter_that_cannot_is_refused_before_it_loads() -> None:
    with pytest.raises(ConfigurationError, match=r"'instant' cannot score choices.*smolvlm"):
        Engine(Instant, plan=GenerationPlan(choose="likelihood"))


def test_the_choice_is_journaled_and_scored_through_a_worker(tmp_path: Path) -> None:
    with Engine(Scoring, plan=GenerationPlan(choose="likelihood")) as engine:
        engine.run([question(choices=CHOICES)], output=tmp_path / "run")
    result = open_run(tmp_path / "run")
    [row] = result.rows()
    [record] = result.records()
    assert row.answer is not None
    assert (row.answer.text, row.answer.choice) == ("C", 2)
    assert record["probability"] == row.answer.probability
    assert result.accuracy() == 0
