"""Questions about one image are asked together, and come back in the caller's order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import fakes
from tests.builders import a_question, png
from tests.question_builders import asked, lines_file, vqa_pair
from vqa_engine import Engine, Observer, Progress, Question, Row
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions import load_questions
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.ordering import by_image
from vqa_engine.questions.question_set import KnowsImages


def places(asked: list[Question]) -> list[int]:
    return [place for place, _ in by_image(GivenQuestions(asked))]


@given(st.lists(st.sampled_from(["red", "green", "blue"]), max_size=12))
def test_groups_are_whole_stable_and_in_first_seen_order(colours: list[str]) -> None:
    asked = [a_question(n, image=png(colour=colour)) for n, colour in enumerate(colours)]
    first = list(dict.fromkeys(colours))
    wanted = sorted(range(len(colours)), key=lambda n: first.index(colours[n]))
    assert places(asked) == wanted
    assert [q.question_id for _, q in by_image(GivenQuestions(asked))] == wanted


def test_files_are_told_apart_by_their_paths_and_never_opened(tmp_path: Path) -> None:
    for name in "abc":
        os.mkfifo(tmp_path / name)  # opening one would wait for ever
    asked = [a_question(n, image=tmp_path / name) for n, name in enumerate("abcab")]
    assert places(asked) == [0, 3, 1, 4, 2]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_what_is_skipped_is_left_out_and_the_rest_is_ordered_the_same(
    drawn: list[tuple[str, bool]],
) -> None:
    asked = [a_question(n, image=Path(name)) for n, (name, _) in enumerate(drawn)]
    left = [question for question, (_, skipped) in zip(asked, drawn, strict=True) if not skipped]
    found = list(by_image(GivenQuestions(asked), lambda place: drawn[place][1]))
    assert [question for _, question in found] == [
        question for _, question in by_image(GivenQuestions(left))
    ]
    assert all(question.question_id == place for place, question in found)


def test_equal_pictures_in_memory_are_one_image() -> None:
    pictures = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "red")]
    assert places([a_question(n, image=picture) for n, picture in enumerate(pictures)]) == [0, 2, 1]


def test_missing_files_are_images_of_their_own(tmp_path: Path) -> None:
    asked = [a_question(n, image=tmp_path / name) for n, name in enumerate("aba")]
    assert places(asked) == [0, 2, 1]


class Asked(Observer):
    def __init__(self) -> None:
        self.ids: list[int | str] = []

    def answered(self, row: Row, progress: Progress) -> None:
        self.ids.append(row.question.question_id)


def test_a_run_asks_group_by_group_and_returns_the_callers_order() -> None:
    order, colours = Asked(), ["red", "blue", "red", "blue"]
    asked = [a_question(n, image=png(colour=colour)) for n, colour in enumerate(colours)]
    with Engine(adapters=[fakes.Looking], isolation="inline", observer=order) as engine:
        rows = engine.run(asked).rows()
        assert [row.question.question_id for row in rows] == [0, 1, 2, 3]
    assert order.ids == [0, 2, 1, 3]


@pytest.mark.parametrize("options", [{}, {"limit": 9}, {"sample": 8, "limit": 7}])
def test_a_set_that_knows_its_images_is_ordered_as_one_that_does_not(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    rows = [{"image": f"{n % 4}.png", "question": "What?", "question_id": n} for n in range(12)]
    pair = vqa_pair(tmp_path, [asked(n, image_id=n % 4) for n in range(12)], [])
    for file in (lines_file(tmp_path, *rows), pair[0]):
        known = load_questions(file, images=tmp_path, **options)
        assert isinstance(known, KnowsImages)
        assert list(by_image(known)) == list(by_image(GivenQuestions(known)))


def test_a_set_that_knows_its_images_makes_no_question_ahead(tmp_path: Path) -> None:
    rows = [{"image": f"{n % 2}.png", "question": "What?"} for n in range(4)]
    file = lines_file(tmp_path, *rows)
    ordered = by_image(load_questions(file))
    file.unlink()
    with pytest.raises(QuestionSetError, match="cannot be read"):
        next(ordered)
