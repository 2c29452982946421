from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring import Scoreboard
from vqa_engine.scoring.contractions import CONTRACTIONS
from vqa_engine.scoring.normaliser import normalised
from vqa_engine.scoring.statistics import wilson
from vqa_engine.scoring.vqa_v2 import VqaV2Normalised, VqaV2Official

Votes = VqaV2Official | VqaV2Normalised
OFFICIAL, NORMALISED = VqaV2Official(), VqaV2Normalised()
BOTH = pytest.mark.parametrize("profile", [OFFICIAL, NORMALISED], ids=lambda one: one.name)

ODD = st.text(st.sampled_from("aAtThe noYy13,.-'?!/\t\n "), max_size=12)
SAID = st.sampled_from(["yes", "Yes", "no", "two", "2", "a dog", "dog", "none", "", "1,000"]) | ODD
TEN = st.lists(SAID, min_size=10, max_size=10)


# --- the normaliser


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Yes.", "yes"),
        ("None", "0"),
        ("1,000", "1000"),
        ("10,000.5", "10000.5"),
        ("3.", "3"),
        ("St. John's", "st john's"),
        ("U.S.A.", "usa"),
        ("t-shirt", "t shirt"),
        ("5:30 pm", "5:30 pm"),
        ("100%", "100%"),
        ("-5", "5"),
        ("it's 1,2,3", "it's 123"),
        ("5 oclock", "5 o'clock"),
        ("apple,banana", "apple banana"),
        ("somebody'd", "somebodyd"),
        ("The ten\tcats\n", "10 cats"),
        ("a", ""),
        ("im", "im"),
        ("red, blue", "red blue"),
        ("red , t-shirt", "red t shirt"),
        ("t-shirt 1,000", "tshirt 1000"),
        ("." * 40, "." * 8),
        (".5", ".5"),
        ("", ""),
    ],
)
def test_normaliser(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


@pytest.mark.parametrize("number", range(11))
def test_number_words(number: int) -> None:
    words = "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
    assert normalised(words[number].title()) == str(number)


def test_every_contraction_is_reached() -> None:
    lower = {word: fixed for word, fixed in CONTRACTIONS.items() if word == word.lower()}
    assert len(CONTRACTIONS) - len(lower) == 4
    assert all(normalised(word) == fixed for word, fixed in lower.items())


@given(st.text(max_size=40))
def test_normaliser_takes_any_text(text: str) -> None:
    assert normalised(text) == " ".join(normalised(text).split())


# --- one answer


@pytest.mark.parametrize(
    ("said", "truths", "official", "always"),
    [
        ("Yes", ["yes"] * 10, 0, 100),
        ("two", ["2"] * 10, 0, 100),
        ("red", ["red"] * 3 + ["blue"] * 7, 90, 90),
        ("no", ["yes"] * 8 + ["no"] * 2, 60, 60),
        ("none", ["none"] * 10, 100, 100),
        ("yes\n", ["\tyes"] * 10, 100, 100),
        ("Yes", ["yes"] * 9 + ["no"], 100, 100),
        ("yes", [" yes"] * 5 + ["yes\n"] * 5, 100, 100),
        ("", ["yes"] * 10, 0, 0),
    ],
)
def test_the_two_profiles(said: str, truths: list[str], official: int, always: int) -> None:
    assert OFFICIAL.score(said, truths) * 100 == pytest.approx(official)
    assert NORMALISED.score(said, truths) * 100 == pytest.approx(always)


@BOTH
@pytest.mark.parametrize(("count", "expected"), [*enumerate([0, 30, 60, 90, *[100] * 6])])
def test_n_of_ten(profile: Votes, count: int, expected: int) -> None:
    truths = ["x"] * count + ["y"] * (10 - count)
    assert profile.score("x", truths) * 100 == pytest.approx(expected)


@BOTH
def test_a_single_ground_truth_is_a_comparison(profile: Votes) -> None:
    assert profile.score("Two.", ["2"]) == 1
    assert profile.score("three", ["2"]) == 0


def test_few_ground_truths() -> None:
    assert OFFICIAL.score("x", ["x", "x"]) == pytest.approx(1 / 3)
    assert NORMALISED.score("x", ["x", "x"]) == 1
    assert NORMALISED.score("x", ["x", "y"]) == 0.5
    assert NORMALISED.score("x", ["x", "x", "x"]) == 1
    assert OFFICIAL.score("x", ["x"] * 4) == NORMALISED.score("x", ["x"] * 4) == 1


@BOTH
def test_no_ground_truth(profile: Votes) -> None:
    with pytest.raises(ScoringError, match="without ground truths"):
        profile.score("x", [])


@BOTH
@given(said=SAID, truths=TEN)
def test_ten_truths_give_one_of_five_scores(profile: Votes, said: str, truths: list[str]) -> None:
    score = profile.score(said, truths)
    assert min(abs(score - one) for one in (0, 0.3, 0.6, 0.9, 1)) < 1e-12


@BOTH
@given(said=SAID, truths=TEN, data=st.data())
def test_order_of_truths_is_irrelevant(
    profile: Votes, said: str, truths: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(truths))
    assert profile.score(said, shuffled) == pytest.approx(profile.score(said, truths))


@BOTH
@given(said=SAID, truths=st.lists(SAID, min_size=1, max_size=15))
def test_scores_stay_in_bounds(profile: Votes, said: str, truths: list[str]) -> None:
    assert 0 <= profile.score(said, truths) <= 1


@given(said=SAID, truths=TEN)
def test_profiles_agree_unless_unanimous(said: str, truths: list[str]) -> None:
    if len({truth.strip() for truth in truths}) > 1:
        cleaned = [truth.replace("\n", " ").replace("\t", " ").strip() for truth in truths]
        if len(set(cleaned)) > 1:
            assert OFFICIAL.score(said, truths) == pytest.approx(NORMALISED.score(said, truths))


@given(said=SAID, truths=TEN)
def test_normalised_does_not_see_the_writing(said: str, truths: list[str]) -> None:
    written = [f" {truth.upper()}\n" for truth in truths]
    assert NORMALISED.score(said.lower(), written) == NORMALISED.score(said.lower(), truths)


# --- the scoreboard


def test_table() -> None:
    board = Scoreboard(OFFICIAL)
    board.add("yes", question(question_type="is", answer_type="yes/no"))
    board.add("no", question(question_type="is", answer_type="yes/no"))
    board.add("red", question(answers=("red",) * 3 + ("blue",) * 7, answer_type="other"))
    board.add("red", question(answers=()))
    board.add_error(question())
    table = board.snapshot()
    assert (table.metric, table.errors, table.unscored) == ("vqa-v2-official", 1, 1)
    assert (table.overall.percent, table.overall.count) == (63.33, 3)
    assert {k: v.percent for k, v in table.by_question_type.items()} == {"is": 50.0}
    assert {k: v.percent for k, v in table.by_answer_type.items()} == {
        "other": 90.0,
        "yes/no": 50.0,
    }


def test_normalised_percentages_are_not_rounded() -> None:
    board = Scoreboard(NORMALISED)
    for said in ("yes", "yes", "no"):
        board.add(said, question())
    assert board.snapshot().overall.percent == pytest.approx(200 / 3, abs=1e-12)


def test_nothing_scored() -> None:
    score = Scoreboard(OFFICIAL).snapshot().overall
    assert math.isnan(score.percent)
    assert (score.low, score.high, score.count) == (0, 100, 0)


def test_snapshot_stands_still() -> None:
    board = Scoreboard(OFFICIAL)
    before = board.snapshot()
    board.add("yes", question())
    assert before.overall.count == 0


def test_wilson_against_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_wilson_holds_the_mean(mean: float, count: int) -> None:
    low, high = wilson(mean, count)
    assert 0 <= low <= mean <= high <= 1


ROWS = st.lists(st.tuples(SAID, TEN, st.sampled_from(["a", "b", "c"])), min_size=1, max_size=20)


@pytest.mark.slow
@BOTH
@given(rows=ROWS)
def test_the_parts_make_the_whole(profile: Votes, rows: list[tuple[str, list[str], str]]) -> None:
    board = Scoreboard(profile)
    for said, truths, kind in rows:
        board.add(said, question(answers=tuple(truths), question_type=kind, answer_type=kind))
    table = board.snapshot()
    for parts in (table.by_question_type.values(), table.by_answer_type.values()):
        assert sum(part.count for part in parts) == table.overall.count
        whole = sum(part.percent * part.count for part in parts) / table.overall.count
        assert whole == pytest.approx(table.overall.percent, abs=0.011)
    assert table.overall.low <= table.overall.percent <= table.overall.high
