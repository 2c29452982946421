"""Two models over the same questions: differences, fixed and broken, intervals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import question
from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring import metric
from vqa_engine.scoring.comparison import Comparison, compare
from vqa_engine.scoring.report import as_text, comparison_table

METRICS = {name: metric(name) for name in ("exact", "yes-no-words")}


def asked(number: int, image: int | None = None, truth: str = "yes") -> Question:
    return question(question_id=number, image=b"", image_id=image, answers=(truth,))


def compared(first: str, second: str, per_image: int = 1, name: str = "exact") -> Comparison:
    """Answers as letters: y and n; a question about each, `per_image` about one image."""
    questions = [asked(n, n // per_image) for n in range(len(first))]
    said = {"y": "yes", "n": "no", ".": None}
    sides = [
        (label, [(one, said[letter]) for one, letter in zip(questions, letters, strict=True)])
        for label, letters in (("before", first), ("after", second))
    ]
    return compare(sides[0], sides[1], METRICS[name])


def test_what_was_fixed_and_what_was_broken() -> None:
    found = compared("n" * 12 + "y" * 20, "y" * 12 + "n" * 5 + "y" * 15)
    assert (found.better, found.worse, found.count) == (12, 5, 32)
    assert found.difference.value == pytest.approx(100 * 7 / 32)
    assert found.p_value == pytest.approx(0.14346313)
    assert found.difference.low < 0 < found.difference.high


def test_a_difference_of_the_paired_answers_is_narrower_than_of_two_sets() -> None:
    found = compared("yn" * 100, "yy" + "yn" * 99)
    assert found.difference.high - found.difference.low < 3
    assert found.smallest == pytest.approx(2.8 * 0.5, rel=0.02)


def test_images_count_and_not_questions() -> None:
    alone = compared("n" * 20 + "y" * 100, "y" * 20 + "y" * 100)
    shared = compared("n" * 20 + "y" * 100, "y" * 20 + "y" * 100, per_image=10)
    width = [one.difference.high - one.difference.low for one in (alone, shared)]
    assert width[1] > 2 * width[0]
    assert (alone.clusters, shared.clusters) == (120, 12)


def test_few_images_can_show_nothing_that_their_interval_hides() -> None:
    three = compared("nny" * 40, "nyy" * 40, per_image=40)
    half = three.difference.high - three.difference.value
    assert half < three.smallest < 100
    two = compared("nnyy", "yynn", per_image=2)
    assert two.smallest > 100
    assert "too few images" in as_text(comparison_table([two]))


def test_equal_answers_still_leave_room_for_a_difference() -> None:
    found = compared("y" * 50, "y" * 50)
    assert (found.difference.value, found.p_value) == (0, 1)
    assert found.difference.low < 0 < found.difference.high


def test_only_what_both_answered_is_compared() -> None:
    found = compared("yn.", "y.y")
    assert (found.count, found.unpaired) == (1, 2)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ScoringError, match="no question in common that exact can score"):
        compared("y.", ".y")


def test_graded_scores_have_no_mcnemar() -> None:
    questions = [question(question_id=n, answers=("red",) * 3 + ("blue",) * 7) for n in range(4)]
    first = [(one, "red") for one in questions]
    second = [(one, "blue") for one in questions]
    found = compare(("a", first), ("b", second), metric("vqa-v2-normalised"))
    assert (found.p_value, found.better) == (None, 4)
    assert "4 better, 0 worse" in as_text(comparison_table([found]))


def test_other_figures_are_compared_by_drawing_images_again() -> None:
    chance = random.Random(1)
    first = "".join(chance.choice("yyn") for _ in range(200))
    second = "".join("y" if chance.random() < 0.3 else one for one in first)
    figures = compared(first, second, name="yes-no-words").figures
    assert figures["F1"].low > 0
    assert figures["F1"].low < figures["F1"].value < figures["F1"].high


def test_intervals_of_a_difference_hold_the_truth() -> None:
    chance, hits, runs = random.Random(2), 0, 250
    for _ in range(runs):
        levels = [chance.uniform(0.2, 0.8) for _ in range(40) for _ in range(4)]
        first = "".join("y" if chance.random() < level else "n" for level in levels)
        second = "".join("y" if chance.random() < level + 0.1 else "n" for level in levels)
        difference = compared(first, second, per_image=4).difference
        hits += difference.low <= 10 <= difference.high
    assert 0.91 <= hits / runs <= 0.985


ANSWERS = st.lists(st.tuples(st.sampled_from("yn"), st.sampled_from("yn")), min_size=1, max_size=30)


@given(ANSWERS, st.integers(1, 5))
def test_the_other_way_round_everything_turns(pairs: list[tuple[str, str]], size: int) -> None:
    first, second = ("".join(letters) for letters in zip(*pairs, strict=True))
    there, back = compared(first, second, size), compared(second, first, size)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.p_value == back.p_value
    assert there.difference.value == pytest.approx(there.second_percent - there.first_percent)


def test_a_metric_that_fails_is_named() -> None:
    def failing(prediction: str, one: Question) -> float:
        raise ValueError("no")

    answers = [(asked(1), "yes")]
    with pytest.raises(ScoringError, match="'failing' failed on question 1: ValueError: no"):
        compare(("a", answers), ("b", answers), metric(failing))
