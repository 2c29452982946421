from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import question
from vqa_engine.errors import ConfigurationError
from vqa_engine.scoring import metric
from vqa_engine.scoring.extraction import extractor

REASONED = "It is furry, so\nAnswer: a dog? No.\nAnswer: a cat\n"


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("first-line", "It is furry, so"),
        ("last-line", "Answer: a cat"),
        ("after:Answer:", "a cat"),
        ("after:Result:", REASONED.strip()),
    ],
)
def test_the_part_that_counts(rule: str, part: str) -> None:
    assert extractor(rule)(REASONED) == part


@given(st.text())
def test_any_answer_has_a_part(answer: str) -> None:
    for rule in ("first-line", "last-line", "after:x"):
        assert extractor(rule)(answer) in answer


@pytest.mark.parametrize("rule", ["middle", "after", "after:", "first-line:2"])
def test_an_unknown_rule_is_named(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="choose from: first-line, last-line, after:TEXT"):
        extractor(rule)


def test_the_rule_is_a_part_of_the_metrics_name() -> None:
    made = metric("after:Answer:>exact+by:kind")
    assert made.name == "after:Answer:>exact"
    assert made.grade(REASONED, question(answers=("a cat",))).value == 1
    assert made.aggregates == ("by:kind",)
