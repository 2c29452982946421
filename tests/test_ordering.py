"""Questions about one image are asked together, and come back in the caller's order."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import fakes
from tests.builders import a_question, png
from vqa_engine import Engine, Observer, Progress, Question, Row
from vqa_engine.ordering import by_image
from vqa_engine.questions.given import GivenQuestions


def places(asked: list[Question]) -> list[int]:
    return [place for place, _ in by_image(GivenQuestions(asked))]


@given(st.lists(st.sampled_from(["red", "green", "blue"]), max_size=12))
def test_groups_are_whole_stable_and_in_first_seen_order(colours: list[str]) -> None:
    asked = [a_question(n, image=png(colour=colour)) for n, colour in enumerate(colours)]
    first = list(dict.fromkeys(colours))
    wanted = sorted(range(len(colours)), key=lambda n: first.index(colours[n]))
    assert places(asked) == wanted
    assert [q.question_id for _, q in by_image(GivenQuestions(asked))] == wanted


def test_the_same_file_under_another_name_is_one_image(tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
        (tmp_path / name).write_bytes(png(colour=colour))
    asked = [a_question(n, image=tmp_path / name) for n, name in enumerate("abc")]
    assert places(asked) == [0, 2, 1]


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
