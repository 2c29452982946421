"""How a picture gets to a place on another machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.builders import a_question, png
from vqa_engine.adapter import GenerationPlan
from vqa_engine.crew.ray_session import Pictures
from vqa_engine.worker.messages import BytesImage, PathImage, decode_asked
from vqa_engine.worker.outbox import Outbox


class Far:
    """A place that has the same files, others, or none."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files, self.asked = files, 0

    def sees(self, path: str, digest: str) -> bool:
        self.asked += 1
        return hashlib.sha256(self._files.get(path, b"")).hexdigest() == digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png((number + 1, 1)))
    return tmp_path


def test_a_path_goes_where_the_place_sees_the_same_bytes(folder: Path) -> None:
    far = Far({str(file): file.read_bytes() for file in folder.iterdir()})
    pictures = Pictures(far.sees)
    sent = [pictures.crossing(a_question(n, image=folder / f"{n}.png")) for n in range(3)]
    assert [question.image for question in sent] == [folder / f"{n}.png" for n in range(3)]
    assert far.asked == 1


@pytest.mark.parametrize("other", [b"", b"another picture"])
def test_bytes_go_elsewhere_and_once_for_a_group(folder: Path, other: bytes) -> None:
    far = Far({str(folder / "0.png"): other})
    pictures, outbox = Pictures(far.sees), Outbox()
    asked = [a_question(n, image=folder / "0.png", image_root=folder) for n in range(3)]
    sent = [pictures.crossing(question) for question in asked]
    ask = outbox.compose(sent, 3, GenerationPlan())
    images = [decode_asked(bytes(raw)).image for raw in ask.new]
    assert all(isinstance(image, BytesImage) for image in images)
    data = [image.data for image in images if isinstance(image, BytesImage)]
    assert data == [(folder / "0.png").read_bytes(), b"", b""]


def test_a_picture_that_is_missing_goes_as_its_path_for_the_place_to_say_so(folder: Path) -> None:
    sent = Pictures(Far({}).sees).crossing(a_question(1, image=folder / "gone.png"))
    image = decode_asked(bytes(Outbox().compose([sent], 1, GenerationPlan()).new[0])).image
    assert image == PathImage(folder / "gone.png")


def test_pictures_in_memory_stay_as_they_are() -> None:
    question = a_question(1, image=png())
    assert Pictures(Far({}).sees).crossing(question) is question
