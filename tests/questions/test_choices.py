from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.question_builders import encoded, question
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.images import open_image
from vqa_engine.questions.blind import GREY, Blind
from vqa_engine.questions.choices import ordered
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.ordering import by_image
from vqa_engine.questions.selection import select


def chosen(count: int = 2, size: int = 3) -> GivenQuestions:
    return GivenQuestions(
        question(question_id=n, choices=tuple("abcdef"[:size]), right=n % size, answers=())
        for n in range(count)
    )


def right(one: Question) -> str:
    assert one.right is not None
    return one.choices[one.right]


def test_circular_asks_every_rotation_in_one_group() -> None:
    found = list(ordered(chosen(), "circular"))
    assert [one.question_id for one in found] == ["0@0", "0@1", "0@2", "1@0", "1@1", "1@2"]
    assert [one.choices for one in found[:3]] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
    ]
    assert {one.group for one in found} == {0, 1}
    assert [one.labels["rotation"] for one in found[:3]] == ["0", "1", "2"]


def test_all_asks_every_order_and_refuses_too_many() -> None:
    found = list(ordered(chosen(1), "all"))
    assert len({one.choices for one in found}) == 6
    with pytest.raises(ConfigurationError, match="120 times, for it has 5 choices; use circular"):
        ordered(chosen(1, 5), "all")


@given(st.sampled_from(["shuffled:7", "shuffled:8", "circular", "all"]), st.integers(2, 4))
def test_the_right_choice_keeps_its_text(choices: str, size: int) -> None:
    base = {one.question_id: right(one) for one in chosen(5, size)}
    for one in ordered(chosen(5, size), choices):
        known = one.question_id if one.group is None else one.group
        assert right(one) == base[known]
        assert sorted(one.choices) == list("abcdef"[:size])


def test_a_shuffle_is_its_seeds_and_keeps_the_ids() -> None:
    one, same, other = (ordered(chosen(8, 4), f"shuffled:{seed}") for seed in (1, 1, 2))
    assert [a.choices for a in one] == [a.choices for a in same] != [a.choices for a in other]
    assert [a.question_id for a in one] == list(range(8))
    assert one.digest() == same.digest() != other.digest()


def test_a_limit_keeps_whole_groups() -> None:
    found = select(ordered(chosen(5), "circular"), limit=4)
    assert [one.group for one in found] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ("random", "give given, shuffled:SEED, circular or all"),
        ("shuffled:x", "needs a whole number"),
        ("circular:3", "give given"),
    ],
)
def test_other_words_are_one_sentence(choices: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        ordered(chosen(), choices)


def test_questions_whose_choices_cannot_be_moved_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs questions with choices"):
        ordered(GivenQuestions([question()]), "circular")
    with pytest.raises(ConfigurationError, match="nobody says which one is right"):
        ordered(GivenQuestions([question(choices=("a", "b"), answers=("A",))]), "circular")
    with pytest.raises(ConfigurationError, match="rotations of its choices already"):
        ordered(ordered(chosen(), "circular"), "circular")


def test_blind_questions_have_a_grey_picture_of_the_same_size(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (30, 20), "red")))
    (only,) = Blind(GivenQuestions([question(image=path, images=(path,))]))
    for place in range(2):
        shown = open_image(only, place)
        assert (shown.size, shown.getpixel((3, 3))) == ((30, 20), GREY)
    assert (only.text, only.answers) == (question().text, question().answers)


def test_a_blind_set_is_ordered_by_the_real_pictures_and_opens_none(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("a.png", "b.png", "a.png")]
    found = Blind(GivenQuestions(question(question_id=n, image=p) for n, p in enumerate(names)))
    assert [place for place, _ in by_image(found)] == [0, 2, 1]
    assert {one.question_id: one.image_id for one in found} == dict.fromkeys(range(3))


def test_a_picture_that_cannot_be_read_fails_blind_as_well(tmp_path: Path) -> None:
    (only,) = Blind(GivenQuestions([question(image=tmp_path / "no.png")]))
    assert only.image == tmp_path / "no.png"
