"""A question with all that scoring needs, as it crosses to and from a plugin's process."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from msgspec import Struct

from vqa_engine.adapter import ImageSource, Question, QuestionId
from vqa_engine.errors import ImageError
from vqa_engine.questions.ordering import image_id
from vqa_engine.worker.messages import BytesImage, ImageRecord, PathImage
from vqa_engine.worker.outbox import packed, unpacked

_NONE = BytesImage(0)
"""No picture."""


class Posed(Struct, frozen=True, array_like=True):
    """A question: the fields of `Question` that are plain, then its pictures."""

    question_id: QuestionId
    text: str
    answers: tuple[str, ...]
    question_type: str | None
    answer_type: str | None
    choices: tuple[str, ...]
    right: int | None
    group: QuestionId | None
    labels: Mapping[str, str]
    worded: bool
    origin: str | None
    image_root: Path | None
    image_id: QuestionId | None
    image: ImageRecord
    images: tuple[ImageRecord, ...] = ()

    def question(self) -> Question:
        """The question."""
        images = tuple(map(_image, self.images))
        return Question(
            **_plain(self), image_id=self.image_id, image=_image(self.image), images=images
        )


_PLAIN = Posed.__struct_fields__[:-3]
_values = attrgetter(*_PLAIN)


def _plain(one: Question | Posed) -> dict[str, Any]:
    return dict(zip(_PLAIN, _values(one), strict=True))


def to_score(question: Question) -> Posed:
    """A question whose pictures stay here; an id tells one in memory from others."""
    image = PathImage(question.image) if isinstance(question.image, Path) else _NONE
    return Posed(**_plain(question), image_id=image_id(question), image=image)


def to_ask(question: object) -> Posed:
    """A question with its pictures.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(question, Question):
        raise TypeError(f"it gave {type(question).__name__}, not a Question")
    first, *more = (_record(question, place) for place in range(len(question.all_images)))
    return Posed(**_plain(question), image_id=question.image_id, image=first, images=tuple(more))


def size(posed: Posed) -> int:
    """Bytes of a question's pictures."""
    images = (posed.image, *posed.images)
    return sum(0 if isinstance(image, PathImage) else len(image.data) for image in images)


def _record(question: Question, place: int) -> ImageRecord:
    image = question.all_images[place]
    if isinstance(image, Path):
        return PathImage(image)
    try:
        return packed(question, 0, place)[0]
    except ImageError:
        return _NONE  # a damaged picture: its question fails when it is asked


def _image(record: ImageRecord) -> ImageSource:
    return record.path if isinstance(record, PathImage) else unpacked(record)
