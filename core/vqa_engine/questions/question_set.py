"""`QuestionSet`: what every question set offers, and the digest that most of them share."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from vqa_engine.adapter import ImageSource, Question


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
    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given, made while iterating.

        Raises:
            QuestionSetError: as iterating does.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 (hex) over what decides the questions and their ground truths."""


@runtime_checkable
class KnowsImages(Protocol):
    """A question set that knows which questions are about one image without making them."""

    @abstractmethod
    def image_keys(self) -> Sequence[int]:
        """For each question a number, equal where the images are."""


@runtime_checkable
class KnowsGroups(Protocol):
    """A question set that knows which questions are scored together without making them."""

    @abstractmethod
    def group_keys(self) -> Sequence[int] | None:
        """A number for each question, the same within a group; None if there are no groups."""


@runtime_checkable
class Worded(Protocol):
    """A question set whose wording depends on the family of the model that is asked."""

    @abstractmethod
    def worded_for(self, family: str) -> QuestionSet:
        """The same questions, in the same order, as models of this family get them.

        `family` is the adapter's name where the model's family is not known.
        """


@runtime_checkable
class Scored(Protocol):
    """A question set that says how its answers are scored."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of metrics, the headline's first."""


@runtime_checkable
class Downloaded(Protocol):
    """A question set whose data may be from the hub."""

    @property
    @abstractmethod
    def data_commit(self) -> str | None:
        """The data set and its commit, `owner/name@commit`; None for other data."""


def worded(questions: QuestionSet, family: str) -> QuestionSet:
    """The questions as a family of models gets them."""
    return questions.worded_for(family) if isinstance(questions, Worded) else questions


def why_scored(questions: Scored) -> str:
    """Why a set's own metrics score it; of a task also which figure of them is quoted."""
    why = f"the metric of {questions.name}"
    headline = getattr(questions, "headline", None)
    return f"{why}, which is quoted by its figure {headline!r}" if headline else why


def most_images(questions: QuestionSet) -> int:
    """The most images that one question of the set has; 1 where the set cannot say."""
    return int(getattr(questions, "max_images", 1))


def digest_of(questions: Iterable[Question]) -> str:
    """SHA-256 (hex) over ids, texts, ground truths, types, choices and image names.

    Image paths count relative to their root, and `origin` does not count: a set that was
    moved, or reformatted without changing its meaning, keeps its digest. What a file at a
    path holds does not count either: reading them all would take longer than many runs.
    """
    sha, encoder, buffer = hashlib.sha256(), msgspec.json.Encoder(), bytearray()
    for question in questions:
        identity = _identity(question)
        try:
            encoder.encode_into(identity, buffer)
        except (ValueError, TypeError):  # text that UTF-8 does not hold fails its question later
            buffer[:] = ascii(identity).encode()
        buffer += b"\n"
        sha.update(buffer)
    return sha.hexdigest()


def _identity(question: Question) -> tuple[object, ...]:
    known = (
        question.question_id,
        _image_name(question.image, question.image_root),
        question.text,
        question.answers,
        question.image_id,
        question.question_type,
        question.answer_type,
        question.choices,
    )
    more = {
        "images": [_image_name(image, question.image_root) for image in question.images],
        "right": question.right,
        "group": question.group,
        "labels": sorted(question.labels.items()),
    }
    # a question without these keeps the digest that it had before they existed
    return (*known, *(pair for pair in more.items() if pair[1] not in ([], None)))


def _image_name(image: ImageSource, root: Path | None) -> str:
    """A path relative to its root; of an image that has no path, a hash of what it holds."""
    if isinstance(image, bytes):
        return f"sha256:{hashlib.sha256(image).hexdigest()}"
    if isinstance(image, Path | str):
        return str(image).removeprefix(f"{root}/") if root else str(image)
    from vqa_engine.images import content_hash  # brings Pillow, which other sets do without

    return f"pixels:{content_hash(image)}"
