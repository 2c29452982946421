"""Questions about one image are asked together, and come back in the caller's order."""

from __future__ import annotations

import os
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import fakes
from tests.builders import a_question, png
from vqa_engine import Engine, Observer, Progress, Question, Row
from vqa_engine.images import sketch
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.ordering import by_image


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


def photo(seed: int) -> Image.Image:
    """A picture that compresses as a photograph does; another one for another seed."""
    noise = Image.frombytes("RGB", (5, 4), random.Random(seed).randbytes(60))
    return noise.resize((50, 40), Image.Resampling.BICUBIC)


def test_the_same_pixels_in_another_format_are_one_image(tmp_path: Path) -> None:
    for name, seed in (("a.png", 1), ("b.jpg", 2), ("c.bmp", 1), ("d.png", 3)):
        photo(seed).save(tmp_path / name)
    asked = [a_question(n, image=path) for n, path in enumerate(sorted(tmp_path.iterdir()))]
    assert places(asked) == [0, 2, 1, 3]


def test_a_jpeg_with_other_metadata_is_the_same_image(tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.jpg")
    photo(2).save(tmp_path / "b.jpg")
    photo(1).save(tmp_path / "c.jpg", comment="taken by another camera", dpi=(300, 300))
    photo(2).save(tmp_path / "d.jpg", optimize=True, progressive=True)
    asked = [a_question(n, image=path) for n, path in enumerate(sorted(tmp_path.iterdir()))]
    assert places(asked) == [0, 2, 1, 3]


def test_a_picture_that_its_metadata_turn_is_another_one(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 3
    photo(1).save(tmp_path / "a.jpg")
    photo(2).save(tmp_path / "b.jpg")
    photo(1).save(tmp_path / "c.jpg", exif=turned)
    asked = [a_question(n, image=path) for n, path in enumerate(sorted(tmp_path.iterdir()))]
    assert places(asked) == [0, 1, 2]


def test_pictures_of_one_sketch_are_told_apart_by_their_pixels(tmp_path: Path) -> None:
    dots = [Image.new("L", (16, 16), 128) for _ in range(2)]
    for number, dot in enumerate(dots):
        dot.putpixel((number, 0), 255)  # the mean of the 8 x 8 block stays
        dot.save(tmp_path / f"{number}.jpg", quality=95)
    first, second = (sketch(tmp_path / f"{number}.jpg") for number in range(2))
    assert first == second
    again = tmp_path / "2.jpg"
    again.write_bytes((tmp_path / "0.jpg").read_bytes() + b"\0")
    asked = [a_question(n, image=path) for n, path in enumerate(sorted(tmp_path.iterdir()))]
    assert places(asked) == [0, 2, 1]


def test_a_broken_image_is_one_of_its_own(tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    photo(1).save(tmp_path / "c.bmp")
    (tmp_path / "d.png").write_bytes(b"no picture at all")
    os.mkfifo(tmp_path / "e")
    os.mkfifo(tmp_path / "f")
    asked = [a_question(n, image=path) for n, path in enumerate(sorted(tmp_path.iterdir()))]
    assert places(asked) == [0, 2, 1, 3, 4, 5]


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
