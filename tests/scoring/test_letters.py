"""The letter rule, on the answers where harnesses fail (docs/metrics.md)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.scoring.letters import LETTERS, read_choice

FOUR = ("a cat", "a dog", "a bird", "a fish")


@pytest.mark.parametrize(
    "said",
    [
        "B", "b", " B\n", "(b)", "B)", "B.", "**B**", "\\boxed{B}", "$\\boxed{\\text{B}}$", "`B`",
        "<answer>B</answer>", "B. a dog", "B: a dog", "(B) a dog", "Answer: B", "Answer: b",
        "The answer is (B)", "the answer is: B.", "The correct option is B", "Option B is right",
        "The answer is (B) because it barks", "B because it barks and has more than four words",
        "A dog", "a dog.", "A dog is on the mat", "It is a dog", "I think it is a dog",
        "A might fit. Final answer: B", "(B) is right, not (A)", "It is a dog, not a cat",
        "B is the answer", "Not A, so B", "The answer is B as (A) is wrong",
        "A cat is seen, then a bird. The answer is a dog", "(A) is out. It must be:\n(B) a dog",
        "- (A) no\n- (C) no\n\nHence the match is: **(B) point B**",
        "Thus the correct answer is (B) dog", "B. a dog\nIt barks.",
        "Answer: (B) picture B", "Box B fits", "Box B fits.\nA horse would not.",
    ],
)  # fmt: skip
def test_what_means_b(said: str) -> None:
    found = read_choice(said, FOUR)
    assert (found.letter, found.status) == ("B", "parsed")


@pytest.mark.parametrize("said", ["", "Because", "Blue", "DNA ", "E", "dog", "I see", "a", "1"])
def test_what_means_nothing_of_three(said: str) -> None:
    choices = ("x cat", "x dog", "x bird") if said == "dog" else FOUR
    found = read_choice(said, choices)
    assert found.status == ("parsed" if said == "a" else "unparsed")


@pytest.mark.parametrize(
    "said",
    [
        "B or C",
        "(A) or (B)",
        "A, B",
        "B/C",
        "A and B",
        "a cat or a dog",
        "It is B, or a cat",
        "Options: (A) a cat (B) a dog",
        "A. a cat\nB. a dog",
        "Box A is large, Box B small",
    ],
)
def test_what_means_several(said: str) -> None:
    found = read_choice(said, FOUR)
    assert (found.choice, found.status) == (None, "ambiguous")


@pytest.mark.parametrize(
    ("said", "choices", "letter"),
    [
        ("It is a black cat.", ("cat", "black cat"), "B"),
        ("It is Vitamin C", ("Vitamin C", "Vitamin D", "Zinc"), "A"),
        ("I see 12.5 there", ("12", "12.5", "1"), "B"),
        ("C", ("C", "D", "E"), "C"),
        ("A is right", FOUR, "A"),
        ("Box A fits closely", FOUR, "A"),
        ("Answer: (A) picture A", FOUR, "A"),
        ("There are 3 and 2. The answer is 5.", ("3", "2", "5"), "C"),
        ("Answer: A", FOUR, "A"),
    ],
)
def test_texts_and_letters_that_look_alike(
    said: str, choices: tuple[str, ...], letter: str
) -> None:
    assert read_choice(said, choices).letter == letter


ANY = st.text() | st.text(st.sampled_from("ABCDabcd().:*\\{} isanwer"), max_size=40)
CHOICES = st.lists(st.text(max_size=12), min_size=1, max_size=30).map(tuple)


@given(said=ANY, choices=CHOICES)
def test_any_answer_gives_a_choice_that_there_is_or_none(
    said: str, choices: tuple[str, ...]
) -> None:
    found = read_choice(said, choices)
    assert (found.choice is None) == (found.status != "parsed")
    assert found.choice is None or 0 <= found.choice < len(choices)
    assert found == read_choice(said, choices)


@given(st.integers(2, 26), st.data())
def test_a_letter_in_any_dress_is_that_letter(count: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, count - 1))
    dress = data.draw(
        st.sampled_from(["{}", "({})", "{}.", "**{}**", "Answer: {}", "\\boxed{{{}}}"])
    )
    choices = tuple(f"choice number {number}" for number in range(count))
    assert read_choice(dress.format(LETTERS[place]), choices).choice == place
