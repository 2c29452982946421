"""The kit for metrics: ours pass, and each bad one fails the test made for it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.images import open_image
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.scoring import Grade
from vqa_engine.scoring.metric import Rule, StringRule
from vqa_engine.testing import Capabilities, MetricConformance
from vqa_engine.testing.standard import GUARD, standard_tests


def a_question(*answers: str, **facts: Any) -> Question:
    return Question(question_id=1, image=Path("/no.png"), text="?", answers=answers, **facts)


WORD = (("cat", a_question(*["cat"] * 10), 1.0), ("dog", a_question(*["cat"] * 10), 0.0))
YES = (("yes", a_question("yes"), 1.0), ("no", a_question("yes"), 0.0))
LETTER = tuple(
    (said, a_question("A", choices=("cat", "dog"), right=0), value)
    for said, value in (("A", 1.0), ("B", 0.0))
)
NUMBER = tuple(
    (said, a_question("14", answer_type="integer"), value)
    for said, value in (("It is 14", 1.0), ("15", 0.0))
)
EXAMPLES = {
    **dict.fromkeys(("choice", "circular"), LETTER),
    **dict.fromkeys(("hallusion", "mme", "yes-no-pope", "yes-no-words"), YES),
    **dict.fromkeys(("mmmu-official", "mmmu-strict"), (*LETTER, *WORD)),
    "mathvista-rules": (*LETTER, *NUMBER),
}
TESTS = sorted(standard_tests(MetricConformance) - {GUARD})
OURS = [one.name for one in plugins.find(plugins.METRICS) if one.distribution == "vqa-engine"]


def suite(metric: Any, examples: Any = WORD) -> MetricConformance:
    kind = type("Suite", (MetricConformance,), {"metric": metric, "examples": examples})
    made = kind()
    assert isinstance(made, MetricConformance)
    return made


@pytest.mark.parametrize("name", OURS)
def test_ours_pass(name: str) -> None:
    checked = suite(name, EXAMPLES.get(name, WORD))
    for test in TESTS:
        getattr(checked, test)()


def exact(said: str, question: Question) -> float:
    """A good one."""
    if not question.answers:
        raise ScoringError("nothing to compare with")
    return float(said in question.answers)


def chance(said: str, question: Question) -> float:
    return exact(said, question) * random.random()


def percent(said: str, question: Question) -> float:
    return 100 * exact(said, question)


def brittle(said: str, question: Question) -> float:
    return exact(said, question) * float(said.isalpha() or int(said) > 0)


def generous(said: str, question: Question) -> Grade:
    return Grade(max(exact(said, question), 1.0 if not said else 0.0), status="unparsed")


def indifferent(said: str, question: Question) -> float:
    return float(said in question.answers)


def looking(said: str, question: Question) -> float:
    return exact(said, question) if question.answers == () else float(bool(open_image(question)))


@frozen
class Counting(Rule):
    """Remembers what it has seen."""

    name: str = "counting"
    seen: list[str] = field(factory=list)

    def grade(self, prediction: str, question: Question) -> Grade:
        value = exact(prediction, question)
        self.seen.append(prediction)
        return Grade(value / len(self.seen))


def rule(**facts: Any) -> StringRule:
    return StringRule(**{"name": "x", "score": lambda said, truths: float(said in truths), **facts})


DEPENDS = "a grade depends on what was graded before, or on chance"
BAD = [
    (Counting(), "test_a_grade_depends_on_its_answer_alone", DEPENDS),
    (chance, "test_a_grade_depends_on_its_answer_alone", DEPENDS),
    (percent, "test_every_answer_gets_a_grade", "'cat' gets 100.0"),
    (brittle, "test_every_answer_gets_a_grade", "'' raises ValueError: invalid literal"),
    (generous, "test_what_was_not_understood_is_not_right", "'cat' was unparsed"),
    (indifferent, "test_a_question_without_a_truth_is_left_out", "without a ground truth gets"),
    (looking, "test_the_picture_is_not_looked_at", "a grade needs the picture: .*no such file"),
    (rule(score=lambda _said, _truths: 1.0), "test_examples_get_their_value", "expected value"),
    (rule(name="a+b"), "test_it_is_a_metric", "in a name stand for something else"),
    (rule(version=0), "test_it_is_a_metric", "versions count from 1"),
    (rule(aggregates=("no-such",)), "test_it_is_a_metric", "no aggregate 'no-such'"),
    ("no-such-metric", "test_it_is_a_metric", "no metric 'no-such-metric'"),
    (int, "test_it_is_a_metric", "does not implement Metric"),
]


@pytest.mark.parametrize(("metric", "test", "why"), BAD)
def test_a_bad_one_fails(metric: Any, test: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        getattr(suite(metric), test)()


@pytest.mark.parametrize("test", TESTS)
def test_a_good_one_passes(test: str) -> None:
    getattr(suite(exact), test)()


def test_examples_that_are_all_right_prove_nothing() -> None:
    with pytest.raises(AssertionError, match="a right and a wrong example"):
        suite(exact, WORD[:1]).test_examples_get_their_value()


def test_a_test_that_is_missing_is_noticed() -> None:
    gone = {"test_it_is_a_metric": None, "metric": exact, "examples": WORD}
    kind = type("Suite", (MetricConformance,), gone)
    with pytest.raises(AssertionError, match="deleted"):
        kind().test_standard_tests_are_all_there()
    waived = Capabilities(waived={"test_it_is_a_metric": "why not"})
    type("Suite", (kind,), {"capabilities": waived})().test_standard_tests_are_all_there()
    with pytest.raises(TypeError, match="overrides"):
        type("Suite", (MetricConformance,), {GUARD: None})
