"""What crosses to a worker: each question once, each image in memory once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.worker import PLAN, ask
from vqa_engine.adapter import Question
from vqa_engine.errors import ImageError
from vqa_engine.images import open_image
from vqa_engine.worker.messages import Ask, BytesImage, PixelImage, decode_asked
from vqa_engine.worker.outbox import ROOM, Inbox, Outbox

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB",
         "I", "F", "I;16"]  # fmt: skip


def composed(outbox: Outbox, *questions: Question, limit: int = 32) -> Ask:
    return outbox.compose(questions, limit, PLAN)


def carried(*questions: Question) -> list[Question]:
    """What arrives of questions that are sent together."""
    return Inbox().take(composed(Outbox(), *questions))


@pytest.mark.parametrize("size", [(31, 17), (1, 1), (300, 400)])
@pytest.mark.parametrize("mode", MODES)
def test_a_picture_crosses_as_a_model_sees_it(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    image.frombytes(os.urandom(len(image.tobytes())))
    question = ask("?", image=image)
    (got,) = carried(question)
    assert isinstance(got.image, Image.Image)
    assert got.image.tobytes() == open_image(question).tobytes()


@pytest.mark.parametrize("data", [b"x", os.urandom(5 << 20)])
def test_bytes_cross_unchanged(data: bytes) -> None:
    assert carried(ask("?", image=data))[0].image == data


def test_a_question_crosses_once() -> None:
    outbox, inbox = Outbox(), Inbox()
    questions = [ask(text, number) for number, text in enumerate("abcd")]
    first = composed(outbox, *questions[:3])
    assert [q.text for q in inbox.take(first)] == ["a", "b", "c"]
    second = composed(outbox, *questions[1:])
    assert (len(first.new), len(second.new)) == (3, 1)
    assert [q.text for q in inbox.take(second)] == ["b", "c", "d"]


def test_the_same_question_stays_the_same_object_in_the_child() -> None:
    outbox, inbox, question = Outbox(), Inbox(), ask("?")
    (first,) = inbox.take(composed(outbox, question))
    (second,) = inbox.take(composed(outbox, question))
    assert first is second


@pytest.mark.parametrize("image", [Image.new("RGB", (9, 9)), b"some bytes"])
def test_an_image_crosses_once(image: Image.Image | bytes) -> None:
    outbox, inbox = Outbox(), Inbox()
    first = composed(outbox, ask("a", 1, image=image), ask("b", 2, image=image))
    second = composed(outbox, ask("c", 3, image=image))
    records = [decode_asked(bytes(raw)).image for raw in (*first.new, *second.new)]
    assert all(isinstance(record, BytesImage | PixelImage) for record in records)
    assert [bool(getattr(record, "data", b"")) for record in records] == [True, False, False]
    one, two = inbox.take(first)
    (three,) = inbox.take(second)
    assert one.image is two.image is three.image


def test_a_path_in_between_does_not_disturb() -> None:
    images = [b"bytes", Path("/x.png"), b"bytes"]
    got = carried(*(ask("?", number, image=image) for number, image in enumerate(images)))
    assert [question.image for question in got] == images


def test_a_question_that_cannot_cross_ends_the_message_before_it() -> None:
    outbox = Outbox()
    message = composed(outbox, ask("a", 1), ask("b", 1 << 70), ask("c", 3))
    assert (len(message.order), message.limit) == (1, 1)
    with pytest.raises(OverflowError):
        composed(outbox, ask("b", 1 << 70), ask("c", 3))


def test_large_images_in_memory_do_not_all_cross_at_once() -> None:
    half = ROOM // 2 + 1
    questions = [ask("?", number, image=bytes([number]) * half) for number in range(3)]
    assert len(composed(Outbox(), *questions).order) == 1


def test_a_damaged_picture_is_refused_and_the_next_one_crosses(tmp_path: Path) -> None:
    file, outbox = tmp_path / "cut.png", Outbox()
    Image.effect_noise((200, 200), 90).save(file)
    file.write_bytes(file.read_bytes()[:9000])
    with Image.open(file) as cut:
        for _ in range(2):
            with pytest.raises(ImageError, match="truncated"):
                composed(outbox, ask("?", image=cut))
    assert Inbox().take(composed(outbox, ask("?", image=b"next")))[0].image == b"next"
