"""Each metric on the pairs where harnesses disagree (docs/metrics.md)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import question
from vqa_engine.errors import ScoringError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.scoring import Grade, metric
from vqa_engine.scoring.anls import edit_distance
from vqa_engine.scoring.mmmu import official_choice
from vqa_engine.scoring.soft import evalai_normalised

METRICS = {
    one.name: metric(one.name)
    for one in plugins.find(plugins.METRICS)
    if one.distribution == "vqa-engine"
}


def grade(name: str, said: str, *answers: str, **facts: Any) -> Grade:
    return METRICS[name].grade(said, question(answers=answers, **facts))


def value(name: str, said: str, *answers: str, **facts: Any) -> float:
    return grade(name, said, *answers, **facts).value


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("abxy", "abcd", 0), ("abcx", "abcd", 0.75), ("a  b", "a b", 1), ("  Hello ", "hello", 1),
        ("", "", 1), ("", "ab", 0),
    ],
)  # fmt: skip
def test_anls(said: str, answer: str, expected: float) -> None:
    assert value("anls", said, answer) == expected


def test_anls_inclusive_differs_at_the_threshold_alone() -> None:
    assert value("anls-inclusive", "abxy", "abcd") == 0.5
    assert value("anls-inclusive", "axyz", "abcd") == 0
    assert value("anls-inclusive", "abcx", "abcd") == 0.75


def test_anls_takes_the_best_answer() -> None:
    assert value("anls", "paris", "london", "Paris") == 1


@pytest.mark.parametrize(
    ("said", "target", "expected"),
    [
        ("2009", "2010", 1), ("105", "100", 1), ("105.0001", "100", 0), ("14", "14%", 0),
        ("0.14", "14%", 1), ("14 %", "14%", 1), ("$14", "14", 0), ("1,234", "1234", 0),
        ("0.0", "0", 0), ("0", "0", 1), ("12 ", "12", 1), ("Yes ", "Yes", 0), ("Yes.", "Yes", 0),
        ("nan", "5", 0), ("YES", "Yes", 1),
    ],
)  # fmt: skip
def test_chartqa(said: str, target: str, expected: float) -> None:
    assert value("chartqa-relaxed", said, target) == expected


@pytest.mark.parametrize(
    ("said", "target", "expected"),
    [("2009", "2010", 0), ("2010.0", "2010", 1), ("103", "100", 1), ("9", "1999", 0)],
)
def test_years_are_exact(said: str, target: str, expected: float) -> None:
    assert value("chartqa-relaxed-years-exact", said, target) == expected


@pytest.mark.parametrize(
    ("said", "answer", "raw", "folded", "exact"),
    [
        ("yes", "yes", 1, 1, 1), ("Yes.", "yes", 0, 1, 1), (" yes", "yes", 0, 1, 1),
        ("a dog", "dog", 0, 0, 1), ("Two", "2", 0, 0, 1), ("-5", "5", 0, 0, 0),
        ("5.0", "5", 0, 0, 1), ("1,000", "1000", 0, 0, 1), ("The", "?!", 0, 0, 0),
        ("", "the", 0, 0, 0), ("1.5", "15", 0, 0, 0),
    ],
)  # fmt: skip
def test_exact(said: str, answer: str, raw: float, folded: float, exact: float) -> None:
    found = [value(name, said, answer) for name in ("exact-raw", "exact-folded", "exact")]
    assert found == [raw, folded, exact]


def test_exact_takes_any_accepted_answer() -> None:
    assert value("exact", "sofa", "couch", "sofa") == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("snow, mountain", "snow mountain"),
        ("the two mountain's", "2 mountain 's"),
        ("apple,banana", "applebanana"),
    ],
)
def test_evalai_s_normaliser(answer: str, expected: str) -> None:
    assert evalai_normalised(answer) == expected


@pytest.mark.parametrize(
    ("said", "answers", "expected"),
    [
        ("the two mountain's", ["2 mountain 's"] * 10, 1),
        ("apple,banana", ["apple banana"] * 10, 0),
        ("2.", ["2"] * 9 + ["3"], 1),
        ("x", ["x", *["y"] * 9], 0.3),
    ],
)
def test_soft_accuracy_evalai(said: str, answers: list[str], expected: float) -> None:
    assert value("soft-accuracy-evalai", said, *answers) == pytest.approx(expected)


def test_aokvqa_counts_raw_equality_and_skips_difficult_questions() -> None:
    assert value("aokvqa-direct", "red", "red", "red", "Red") == pytest.approx(2 / 3)
    assert value("aokvqa-direct", "red", *["red"] * 4) == 1
    with pytest.raises(ScoringError, match="difficult"):
        grade("aokvqa-direct", "red", "red", labels={"difficult_direct_answer": "True"})


@pytest.mark.parametrize(
    ("said", "pope", "words", "mme"),
    [
        ("No.", "no", "no", "no"), ("NO", "yes", "no", "no"), ("no\n", "yes", "no", "no"),
        ("It does not show a dog", "no", None, None),
        ("Yes, there is no doubt.", "no", None, "yes"), ("", "yes", None, None),
        ("Yes", "yes", "yes", "yes"), ("I say no", "no", "no", None),
        ("Nothing", "yes", None, "no"),
    ],
)  # fmt: skip
def test_how_a_yes_or_no_is_read(said: str, pope: str, words: str | None, mme: str | None) -> None:
    found = [grade(name, said, "yes").parsed for name in ("yes-no-pope", "yes-no-words", "mme")]
    assert found == [pope, words, mme]


def test_what_is_neither_yes_nor_no_says_so() -> None:
    assert grade("yes-no-words", "maybe", "no") == Grade(0.0, None, "unparsed")
    assert grade("yes-no-words", "yes and no", "no").status == "ambiguous"
    with pytest.raises(ScoringError, match="neither yes nor no"):
        grade("yes-no-words", "yes", "a dog")


def test_ocrbench_looks_for_the_answer_anywhere() -> None:
    assert value("ocrbench-contains", "It says STOP\nhere", "stop here") == 1
    formula = {"dataset": "HME100k"}
    assert value("ocrbench-contains", "x ^ 2", "x^2", labels=formula) == 1
    assert value("ocrbench-contains", "X^2", "x^2", labels=formula) == 0


# --- MMMU and MathVista

FOUR = ("$6", "$7", "$8", "a red apple")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("B", 1), ("(B)", 1), ("It is B or C", 2), ("(A) then (D)", 3), ("b", None), ("DNA", None),
        ("what one can see here is a red apple", 3), ("a red apple", None),
    ],
)  # fmt: skip
def test_the_official_mmmu_parser(said: str, expected: int | None) -> None:
    assert official_choice(said, FOUR) == expected


def test_mmmu_gives_the_expectation_of_a_guess_or_nothing() -> None:
    facts: dict[str, Any] = {"choices": FOUR, "right": 1}
    assert grade("mmmu-official", "I do not know", **facts) == Grade(0.25, None, "unparsed")
    assert grade("mmmu-strict", "I do not know", **facts) == Grade(0.0, None, "unparsed")
    assert value("mmmu-strict", "b", **facts) == 1


@pytest.mark.parametrize("name", ["mmmu-official", "mmmu-strict"])
@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("The answer is 1,234.00", "1234", 1), ("so x = 3.14159", "3.14", 1),
        ("it is red", "red", 1), ("it is blue", "red", 0), ("so it is blue", "a", 0),
        ("the result is a b", "b", 1),
        ("", "red", 0),
    ],
)  # fmt: skip
def test_open_mmmu_questions(name: str, said: str, answer: str, expected: float) -> None:
    assert value(name, said, answer) == expected


@pytest.mark.parametrize(
    ("said", "facts", "expected", "status"),
    [
        ("7", {"answer_type": "integer"}, 1, "parsed"),
        ("The answer is 7.", {"answer_type": "integer"}, 1, "parsed"),
        ("From 3 and 4 one gets: answer: $\\boxed{7}$", {"answer_type": "integer"}, 1, "parsed"),
        ("3 or 7", {"answer_type": "integer"}, 0, "ambiguous"),
        ("seven", {"answer_type": "integer"}, 0, "unparsed"),
        ("6.998", {"answer_type": "float", "labels": {"precision": "2"}}, 0, "parsed"),
    ],
)
def test_mathvista_without_a_judge(
    said: str, facts: dict[str, Any], expected: float, status: str
) -> None:
    found = grade("mathvista-rules", said, "7", **facts)
    assert (found.value, found.status) == (expected, status)


def test_mathvista_compares_floats_at_the_precision_and_lists_as_text() -> None:
    assert (
        value("mathvista-rules", "1.2345", "1.23", answer_type="float", labels={"precision": "2.0"})
        == 1
    )
    assert value("mathvista-rules", "It is [1, 2]", "[1, 2]", answer_type="list") == 1


# --- properties

TEXTS = st.text(st.sampled_from("abAB()[].,:;!? \n\t0159%$-'yesno"), max_size=30) | st.text()
ASKED = st.builds(
    question,
    answers=st.lists(TEXTS | st.sampled_from(["yes", "no", "7", "B"]), max_size=10).map(tuple),
    choices=st.just(("a", "b")) | st.lists(TEXTS, min_size=2, max_size=30).map(tuple),
    right=st.none() | st.sampled_from([0, 1]),
    answer_type=st.sampled_from([None, "integer", "float", "list"]),
)


@given(said=TEXTS, asked=ASKED)
def test_every_metric_grades_anything(said: str, asked: Any) -> None:
    for name, one in METRICS.items():
        try:
            found = one.grade(said, asked)
        except ScoringError:
            continue
        assert 0 <= found.value <= 1
        if found.status != "parsed" and name != "mmmu-official":
            assert found.value == 0


@given(TEXTS, TEXTS)
def test_the_edit_distance_is_one(one: str, other: str) -> None:
    longer = max(len(one), len(other))
    assert abs(len(one) - len(other)) <= edit_distance(one, other) <= longer
    assert edit_distance(one, other) == edit_distance(other, one) == _table(one, other)


def _table(one: str, other: str) -> int:
    """The distance by the textbook's table."""
    row = list(range(len(other) + 1))
    for place, left in enumerate(one, start=1):
        before, row[0] = row[0], place
        for column, right in enumerate(other, start=1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (left != right)),
            )
    return row[-1]
