"""Images through shared memory: every mode, every kind, and nothing twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.worker import ask
from vqa_engine.errors import ImageError
from vqa_engine.worker.arena import ROOMY, Inbox, Outbox
from vqa_engine.worker.messages import PathImage, PixelImage

Boxes = tuple[Outbox, Inbox]

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB",
         "HSV", "I", "F", "I;16", "I;16B"]  # fmt: skip


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    outbox = Outbox()
    yield outbox, Inbox(outbox.descriptor)
    outbox.close()


def carried(boxes: Boxes, image: Image.Image) -> Image.Image:
    """What arrives of a PIL image."""
    outbox, inbox = boxes
    got = inbox.take(outbox.put([ask("?", image=image)])[0])
    assert isinstance(got, Image.Image)
    return got


@pytest.mark.parametrize("size", [(31, 17), (1, 1), (0, 5), (300, 400)])
@pytest.mark.parametrize("mode", MODES)
def test_pixels_cross_unchanged(boxes: Boxes, mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    image.frombytes(os.urandom(len(image.tobytes())))
    got = carried(boxes, image)
    assert (got.mode, got.size, got.tobytes()) == (mode, size, image.tobytes())


def test_a_palette_and_its_transparency_cross(boxes: Boxes) -> None:
    image = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 20).convert("P")
    image.info["transparency"] = 3
    got = carried(boxes, image)
    assert got.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_an_image_that_was_saved_before_crosses(boxes: Boxes, tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 9), "teal")
    image.save(tmp_path / "x.jpg", quality=90)
    assert carried(boxes, image).tobytes() == image.tobytes()


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(5 << 20)])
def test_bytes_cross_unchanged(boxes: Boxes, data: bytes) -> None:
    outbox, inbox = boxes
    assert inbox.take(outbox.put([ask("?", image=data)])[0]) == data


def test_an_equal_image_is_not_written_again(boxes: Boxes) -> None:
    outbox, _ = boxes
    image = Image.new("RGB", (9, 9))
    first = outbox.put([ask("?", image=image)])[0]
    assert outbox.put([ask("again?", image=image)])[0] is first
    other = outbox.put([ask("?", image=image.copy())])[0]
    assert isinstance(first, PixelImage)
    assert isinstance(other, PixelImage)
    assert other.serial == first.serial + 1


def test_a_path_in_between_does_not_disturb_the_arena(boxes: Boxes) -> None:
    outbox, inbox = boxes
    record = outbox.put([ask("?", image=b"bytes")])[0]
    inbox.take(record)
    assert outbox.put([ask("?", image=Path("/x.png"))])[0] == PathImage(Path("/x.png"))
    assert outbox.put([ask("?", image=b"bytes")])[0] is record


def test_a_new_child_reads_what_is_still_there(boxes: Boxes) -> None:
    outbox, _ = boxes
    record = outbox.put([ask("?", image=b"for the one before")])[0]
    assert Inbox(outbox.descriptor).take(record) == b"for the one before"


def test_the_arena_shrinks_again(boxes: Boxes) -> None:
    outbox, _ = boxes
    outbox.put([ask("?", image=bytes(ROOMY + 1))])
    outbox.put([ask("?", image=b"small")])
    assert os.fstat(outbox.descriptor).st_size == 5


@pytest.mark.parametrize("image", ["a.png", 7, None, bytearray(b"x")])
def test_what_is_no_image_is_refused(boxes: Boxes, image: object) -> None:
    with pytest.raises(ImageError, match="neither a path, nor bytes, nor a PIL image"):
        boxes[0].put([ask("?", image=image)])


def test_an_image_that_failed_is_not_the_last_one(boxes: Boxes, tmp_path: Path) -> None:
    outbox, inbox = boxes
    file = tmp_path / "cut.png"
    Image.effect_noise((200, 200), 90).save(file)
    file.write_bytes(file.read_bytes()[:9000])
    with Image.open(file) as cut:
        for _ in range(2):
            with pytest.raises(ImageError, match="truncated"):
                outbox.put([ask("?", image=cut)])[0]
    assert inbox.take(outbox.put([ask("?", image=b"next")])[0]) == b"next"


def test_the_files_of_a_batch_lie_side_by_side(boxes: Boxes) -> None:
    outbox, inbox = boxes
    files = [b"one", b"two, longer", Path("/x.png"), b"three"]
    records = outbox.put([ask("?", image=file) for file in files])
    assert [inbox.take(record) for record in records] == files


def test_a_picture_that_needs_the_arena_for_itself_ends_a_batch(boxes: Boxes) -> None:
    outbox, inbox = boxes
    files = [b"one", Image.new("RGB", (2, 2)), b"two"]
    records = outbox.put([ask("?", image=file) for file in files])
    assert [inbox.take(record) for record in records] == files[:1]
