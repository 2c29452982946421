"""A question with several images: what crosses to a worker, and what is kept from an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.builders import a_question, png
from tests.worker import PLAN, ask
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, ImageError
from vqa_engine.images import open_image
from vqa_engine.session.local import asked_of_model
from vqa_engine.worker.outbox import ROOM, Inbox, Outbox


def carried(question: Question) -> Question:
    (arrived,) = Inbox().take(Outbox().compose([question], 1, PLAN))
    return arrived


def known(**facts: object) -> Question:
    """A question with everything that scoring knows and a model must not."""
    return a_question(
        1, choices=("a", "b"), right=1, group="g", image_id=3, labels={"category": "x"}, **facts
    )


def test_every_image_crosses() -> None:
    images = (Path("/b.png"), b"bytes", Image.new("RGB", (3, 2), "red"))
    arrived = carried(ask("<image 1> or <image 2>?", 1, image=b"first", images=images))
    assert arrived.image == b"first"
    assert arrived.images[:2] == images[:2]
    assert open_image(arrived, 3).tobytes() == images[2].tobytes()


def test_further_images_count_for_the_room_of_a_message() -> None:
    large = (b"x" * (ROOM // 2 + 1),)
    questions = [ask("?", number, image=Path("/a.png"), images=large) for number in range(3)]
    assert len(Outbox().compose(questions, 3, PLAN).order) == 1


def test_a_bad_further_image_is_named() -> None:
    with pytest.raises(ImageError, match="given as 4 bytes"):
        open_image(ask("?", 1, image=png(), images=(b"junk",)), 1)


def inline(question: Question) -> Question:
    return asked_of_model(question, PLAN)


@pytest.mark.parametrize("cross", [carried, inline])
def test_a_model_sees_images_and_choices_and_no_truth(cross: object) -> None:
    assert callable(cross)
    seen = cross(known(images=(b"b",)))
    assert (seen.images, seen.choices) == ((b"b",), ("a", "b"))
    assert (seen.right, seen.group, seen.labels, seen.answers) == (None, None, {}, ())
    assert (seen.image_id, seen.question_type, seen.answer_type) == (None, None, None)


@pytest.mark.parametrize("right", [2, -1, True, "b"])
def test_the_right_choice_is_one_of_the_choices(right: object) -> None:
    with pytest.raises(ConfigurationError, match="give an index from 0"):
        a_question(1, choices=("a", "b"), right=right)
