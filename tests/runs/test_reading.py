"""Rows with their scores."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from tests.builders import a_question
from vqa_engine.adapter import Answer, GenerationPlan
from vqa_engine.results import Row
from vqa_engine.runs.reading import graded
from vqa_engine.scoring import metric
from vqa_engine.scoring.metric import StringRule


def picky(said: str, truths: Sequence[str]) -> float:
    if said == "odd":
        raise KeyError(said)
    return 7.0 if said == "seven" else float(said in truths)


@pytest.mark.parametrize(
    ("bad", "why"), [("odd", "KeyError: 'odd'"), ("seven", "the metric gave 7.0")]
)
def test_a_metric_that_fails_costs_its_own_scores_and_is_named(
    bad: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [Answer(text=text, plan=GenerationPlan()) for text in ("yes", bad, "yes")]
    rows = [Row(adapter="a", question=a_question(n), answer=one) for n, one in enumerate(answers)]
    with caplog.at_level(logging.WARNING):
        found = list(graded(rows, [StringRule(name="picky", score=picky), metric("exact")]))
    assert [one.scores for one in found] == [
        {"picky": 1.0, "exact": 1.0},
        {"picky": None, "exact": 0.0},
        {"picky": None, "exact": 1.0},
    ]
    (said,) = caplog.messages
    assert said.startswith("The metric picky fails on question 1: ")
    assert why in said
