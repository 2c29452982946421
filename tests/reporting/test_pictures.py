"""Pictures are shown from where the reader allows, and from nowhere else."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import a_question, png
from tests.reporting.builders import PLAN, a_run
from tests.reporting.conftest import write
from tests.reporting.test_coded import unpacked
from tests.reporting.test_page import Elements
from vqa_engine import load_questions
from vqa_engine.adapter import Answer, Question
from vqa_engine.errors import ImageError
from vqa_engine.reporting.pictures import Gallery
from vqa_engine.results import Row


def shown(page: Path) -> list[str | None]:
    """The addresses of the pictures of a page, by place."""
    return unpacked(base64.b64decode(Elements(page.read_text()).texts[1]))["picture"]


def size(address: str | None) -> tuple[int, int]:
    data = (address or "").removeprefix("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data))).size


def rows(*questions: Question) -> list[Row]:
    return [Row(adapter="a", question=q, answer=Answer(text="yes", plan=PLAN)) for q in questions]


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "in.png").write_bytes(png((600, 300)))
    (tmp_path / "out.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    (folder / "text.png").write_text("no picture")
    return folder


def test_a_picture_inside_the_folder_is_made_small(allowed: Path) -> None:
    data = Gallery(folders=(allowed,)).small(str(allowed / "in.png"), 100)
    assert Image.open(io.BytesIO(data)).size == (100, 50)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out.png", "outside the folders"),
        ("link.png", "outside the folders"),
        ("text.png", "not an image"),
        ("absent.png", "no such file"),
        ("/etc/hostname", "outside the folders"),
        ("/dev/zero", "outside the folders"),
        (".", "outside the folders"),
    ],
)
def test_everything_else_is_refused(allowed: Path, name: str, reason: str) -> None:
    gallery = Gallery(folders=(allowed,))
    with pytest.raises(ImageError, match=reason):
        gallery.open(str(allowed / name))


def test_without_a_folder_nothing_is_opened(allowed: Path) -> None:
    with pytest.raises(ImageError, match="--images"):
        Gallery().open(str(allowed / "in.png"))


def test_a_drawn_picture_is_drawn_again(tmp_path: Path) -> None:
    asked = list(load_questions("shapes:count=7,seed=3"))
    run = a_run(tmp_path / "run", rows(*asked))
    found = shown(write(run))
    assert found[0] == found[4]
    assert found[4] != found[5]
    assert all((one or "").startswith("data:image/webp;base64,") for one in found)
    assert shown(write(run, pictures="none")) == [None] * 7


def test_a_drawn_picture_of_another_question_is_not_shown(tmp_path: Path) -> None:
    origin = "shapes seed 0, scene 0"
    run = a_run(tmp_path / "run", rows(a_question(0, text="Is it mine?", origin=origin)))
    assert shown(write(run)) == [None]


def test_pictures_beside_the_page_have_relative_addresses(allowed: Path, tmp_path: Path) -> None:
    question = a_question(1, image=allowed / "in.png")
    strange = a_question(2, image=tmp_path / "a b" / "c#?:.png")
    run = a_run(tmp_path / "runs" / "run", rows(question, strange))
    assert shown(write(run)) == ["../../pictures/in.png", "../../a%20b/c%23%3F%3A.png"]


def test_a_path_that_shares_nothing_with_the_page_is_left_out(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", rows(a_question(1, image=Path("/elsewhere/a.png"))))
    assert shown(write(run)) == [None]


def test_embedded_pictures_come_from_allowed_folders_alone(allowed: Path, tmp_path: Path) -> None:
    inside = a_question(1, image=allowed / "in.png")
    outside = a_question(2, image=tmp_path / "out.png")
    run = a_run(tmp_path / "run", rows(inside, outside))
    first, second = shown(write(run, pictures="embed", folders=[allowed]))
    assert size(first) == (256, 128)
    assert second is None
