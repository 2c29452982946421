"""A question with all that scoring needs, as it crosses to and from a plugin's process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from vqa_engine.adapter import ImageSource, Question, QuestionId
from vqa_engine.errors import ImageError
from vqa_engine.questions.ordering import image_id
from vqa_engine.worker.messages import BytesImage, ImageRecord, PathImage
from vqa_engine.worker.outbox import packed, unpacked

_NONE = BytesImage(0)
"""No picture."""


class Posed(Struct, frozen=True, array_like=True):
    """A question. Fields are those of `Question`, and `more` are further images."""

    question_id: QuestionId
    image: ImageRecord
    text: str
    answers: tuple[str, ...]
    image_id: QuestionId | None
    question_type: str | None
    answer_type: str | None
    choices: tuple[str, ...]
    right: int | None
    group: QuestionId | None
    labels: Mapping[str, str]
    worded: bool
    origin: str | None
    image_root: Path | None
    more: tuple[ImageRecord, ...]

    def question(self) -> Question:
        """The question."""
        return Question(
            question_id=self.question_id,
            image=_image(self.image),
            text=self.text,
            answers=self.answers,
            image_id=self.image_id,
            question_type=self.question_type,
            answer_type=self.answer_type,
            choices=self.choices,
            right=self.right,
            group=self.group,
            labels=self.labels,
            worded=self.worded,
            origin=self.origin,
            image_root=self.image_root,
            images=tuple(map(_image, self.more)),
        )


def to_score(question: Question) -> Posed:
    """A question whose pictures stay here; an id tells one in memory from others."""
    image = PathImage(question.image) if isinstance(question.image, Path) else _NONE
    return _posed(question, image_id(question), image, ())


def to_ask(question: object) -> Posed:
    """A question with its pictures.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(question, Question):
        raise TypeError(f"it gave {type(question).__name__}, not a Question")
    first, *more = (_record(question, place) for place in range(len(question.all_images)))
    return _posed(question, question.image_id, first, tuple(more))


def size(posed: Posed) -> int:
    """Bytes of a question's pictures."""
    images = (posed.image, *posed.more)
    return sum(0 if isinstance(image, PathImage) else len(image.data) for image in images)


def _posed(
    question: Question,
    image_id: QuestionId | None,
    image: ImageRecord,
    more: tuple[ImageRecord, ...],
) -> Posed:
    return Posed(
        question.question_id,
        image,
        question.text,
        question.answers,
        image_id,
        question.question_type,
        question.answer_type,
        question.choices,
        question.right,
        question.group,
        question.labels,
        question.worded,
        question.origin,
        question.image_root,
        more,
    )


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
