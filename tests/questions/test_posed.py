"""Questions as they cross to the process of another package's metric, and from its format's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_engine.adapter import Question
from vqa_engine.questions.posed import Posed, to_ask, to_score
from vqa_engine.scoring.cluster import cluster_of
from vqa_engine.worker.servant import read, written

IDS = st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
TEXTS = st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple)
QUESTIONS = st.builds(
    Question,
    question_id=IDS,
    image=st.binary(max_size=9) | st.sampled_from([Path("a.png"), Path("/b/c.png")]),
    text=st.text(max_size=20),
    answers=TEXTS,
    image_id=st.none() | IDS,
    question_type=st.none() | st.text(max_size=5),
    choices=TEXTS,
    right=st.none() | st.just(0),
    group=st.none() | IDS,
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    worded=st.booleans(),
    images=st.lists(st.binary(max_size=9), max_size=2).map(tuple),
)


def echo(posed: Posed) -> Posed:
    return posed


def crossed(posed: Posed) -> Question:
    arrived: Posed = read(echo, written(posed))
    return arrived.question()


@given(QUESTIONS)
def test_a_question_to_ask_crosses_whole(question: Question) -> None:
    assert crossed(to_ask(question)) == question


@given(QUESTIONS)
def test_a_question_to_score_keeps_its_cluster_and_leaves_pictures_behind(
    question: Question,
) -> None:
    arrived = crossed(to_score(question))
    assert cluster_of(arrived) == cluster_of(question)
    assert isinstance(arrived.image, Path) or arrived.image == b""
    assert (arrived.answers, arrived.labels) == (question.answers, question.labels)


def test_text_that_is_no_unicode_crosses_with_escapes() -> None:
    question = Question(question_id="\udc80", image=b"\xff", text="a\ud800", answers="\ud800")
    arrived = crossed(to_ask(question))
    assert (arrived.question_id, arrived.text) == ("\\udc80", "a\\ud800")
    assert arrived.image == b"\xff"


@settings(max_examples=30)
@given(st.binary(max_size=40) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(
    msgspec.msgpack.encode
))  # fmt: skip
def test_what_does_not_fit_is_one_kind_of_error(data: bytes) -> None:
    try:
        made: Any = read(echo, data)
    except msgspec.DecodeError:
        return
    assert isinstance(made, Posed)


def test_what_is_no_question_is_refused() -> None:
    with pytest.raises(TypeError, match="it gave str, not a Question"):
        to_ask("What is it?")
