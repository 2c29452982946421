"""`QuestionSet`: what every question set offers, and the digest that most of them share."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import msgspec

from vqa_engine.adapter import Question


@runtime_checkable
class QuestionSet(Protocol):
    """Questions in a fixed order, made while iterating; it can be iterated again."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages and reports call the set."""

    @abstractmethod
    def __len__(self) -> int:
        """How many questions there are."""

    @abstractmethod
    def __iter__(self) -> Iterator[Question]:
        """The questions, from the first, one in memory at a time.

        Raises:
            QuestionSetError: the file changed since it was loaded.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex) over what decides the questions and their ground truths."""


def digest_of(questions: Iterable[Question]) -> str:
    """SHA-256 (hex) over ids, texts, ground truths, types, choices and image names.

    Image paths count relative to their root, and `origin` does not count: a set that was
    moved, or reformatted without changing its meaning, keeps its digest. The pixels do not
    count either; reading them all would take longer than many runs.
    """
    sha, encoder, buffer = hashlib.sha256(), msgspec.json.Encoder(), bytearray()
    for question in questions:
        encoder.encode_into(_identity(question), buffer)
        buffer += b"\n"
        sha.update(buffer)
    return sha.hexdigest()


def _identity(question: Question) -> tuple[object, ...]:
    return (
        question.question_id,
        _image_name(question),
        question.text,
        question.answers,
        question.image_id,
        question.question_type,
        question.answer_type,
        question.choices,
    )


def _image_name(question: Question) -> str:
    image = str(question.image)
    return image.removeprefix(f"{question.image_root}/") if question.image_root else image
