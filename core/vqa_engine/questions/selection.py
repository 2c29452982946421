"""A part of any question set: a sample drawn with a seed, or the first few."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.question_set import (
    KnowsGroups,
    KnowsImages,
    QuestionSet,
    digest_of,
    most_images,
)


def select(
    questions: QuestionSet, *, limit: int | None = None, sample: int | None = None, seed: int = 0
) -> QuestionSet:
    """The sample first, then the first `limit` of it; the set itself if that is everything.

    Groups that are scored together stay whole, so there may be a few questions more.

    Raises:
        ConfigurationError: a number below 1.
    """
    _check(limit=limit, sample=sample)
    if sample is not None and sample < len(questions):
        questions = _selected(questions, _drawn(len(questions), sample, seed))
    if limit is not None and limit < len(questions):
        questions = _selected(questions, array("Q", range(limit)))
    return questions


def extends(questions: QuestionSet, count: int, digest: str) -> bool:
    """Whether the first `count` of these questions are a set with this digest.

    The earlier set was the first few of the same set, or of the same file before more
    questions were added at its end.
    """
    if count >= len(questions):
        return False
    return any(one.digest() == digest for one in earlier(questions, count))


@runtime_checkable
class MadeOfAnother(Protocol):
    """A question set that shows another one in some form, and can show a part of it so."""

    def earlier(self, count: int) -> Iterator[QuestionSet]:
        """What it may have been when it had `count` questions (`earlier`)."""


def earlier(questions: QuestionSet, count: int) -> Iterator[QuestionSet]:
    """What these questions may have been when there were only the first `count` of them.

    Their `at` is that of these questions, and their digest what it was then.
    """
    if isinstance(questions, MadeOfAnother):
        yield from questions.earlier(count)
    else:
        yield select(questions, limit=count)
        yield _Whole(questions, array("Q", range(count)))


def _selected(questions: QuestionSet, places: array[int]) -> Selection:
    kind = KnownSelection if isinstance(questions, KnowsImages) else Selection
    return kind(questions, _whole(questions, places))


def _whole(questions: QuestionSet, places: array[int]) -> array[int]:
    """The places, and those of all questions that share a group with one of them."""
    keys = questions.group_keys() if isinstance(questions, KnowsGroups) else None
    if keys is None:
        return places
    begun = {keys[place] for place in places}
    return array("Q", (place for place, key in enumerate(keys) if key in begun))


@frozen(eq=False)
class Selection:
    """The questions at `places` (rising, from 0) of another set, in its order."""

    _of: QuestionSet
    _places: array[int] = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the set that it was taken from."""
        return self._of.name

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(len(self)))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places of the selection (from 0), in the order given."""
        return self._of.at(self._places[place] for place in places)

    @property
    def max_images(self) -> int:
        """As the other set's."""
        return most_images(self._of)

    @property
    def names_files(self) -> bool:
        """As the other set's."""
        return bool(getattr(self._of, "names_files", False))

    def group_keys(self) -> Sequence[int] | None:
        """For each question of the selection its group's number."""
        keys = self._of.group_keys() if isinstance(self._of, KnowsGroups) else None
        return None if keys is None else array("q", (keys[place] for place in self._places))

    def digest(self) -> str:
        """SHA-256 (hex) over the other set's digest and the places."""
        places = ",".join(map(str, self._places))
        return hashlib.sha256(f"{self._of.digest()} at {places}".encode()).hexdigest()

    def earlier(self, count: int) -> Iterator[QuestionSet]:
        """Fewer of the selection, or of the other set."""
        yield select(self, limit=count)
        yield select(self._of, limit=count)
        yield _Whole(self, array("Q", range(count)))


@frozen(eq=False)
class _Whole(Selection):
    """All questions of a file that had no more of them then."""

    def digest(self) -> str:
        """As that of the file, whose digest is over its questions (`digest_of`)."""
        return digest_of(self)


@frozen(eq=False)
class KnownSelection(Selection):
    """A selection of a set that knows its images."""

    def image_keys(self) -> Sequence[int]:
        """For each question of the selection a number, equal where the images are."""
        assert isinstance(self._of, KnowsImages)
        keys = self._of.image_keys()
        return array("q", (keys[place] for place in self._places))


def _drawn(total: int, sample: int, seed: int) -> array[int]:
    return array("Q", sorted(random.Random(seed).sample(range(total), sample)))


def _check(**numbers: int | None) -> None:
    for option, number in numbers.items():
        if number is not None and number < 1:
            raise ConfigurationError(f"--{option} is {number}; it has to be at least 1.")
