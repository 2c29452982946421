"""The order in which questions are asked: all that are about one image, together.

A model then encodes each image once (DESIGN.md, section 5). The journal keeps each
question's place, so results come back in the caller's order.
"""

from __future__ import annotations

import hashlib
import weakref
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import filterfalse, groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_engine.adapter import ImageSource, Question, QuestionId
from vqa_engine.questions.question_set import KnowsImages, QuestionSet

if TYPE_CHECKING:
    from PIL import Image


def by_image(
    questions: QuestionSet, skip: Callable[[int], bool] | None = None
) -> Iterator[tuple[int, Question]]:
    """(place in the caller's order, question), grouped by image, groups in first-seen order.

    Files are one image when they have one path; images in memory when their encoded bytes,
    or their pixels, are equal. No file is opened. Questions at places that `skip` accepts
    are left out. Holds a few machine words a question; a set that cannot say which questions
    share an image is asked for each question twice.
    """
    places, _ = _ordered(questions, skip)
    return zip(places, questions.at(places), strict=True)


def in_groups(
    questions: QuestionSet, skip: Callable[[int], bool] | None = None
) -> Iterator[list[tuple[int, Question]]]:
    """The same pairs as lists: each holds the questions about one image."""
    places, groups = _ordered(questions, skip)
    numbered = zip(groups, places, questions.at(places), strict=True)
    for _, members in groupby(numbered, key=itemgetter(0)):
        yield [(place, question) for _, place, question in members]


def _ordered(
    questions: QuestionSet, skip: Callable[[int], bool] | None
) -> tuple[Sequence[int], array[int]]:
    """The places in the order of asking, and for each the number of its question's image."""
    places: Sequence[int] = range(len(questions))
    if skip is not None:
        places = array("L", filterfalse(skip, places))
    groups = numbered(_keys(questions, places))
    if not all(earlier <= later for earlier, later in pairwise(groups)):
        order = sorted(range(len(groups)), key=groups.__getitem__)
        places = array("L", map(places.__getitem__, order))
        groups = array("L", map(groups.__getitem__, order))
    return places, groups


def image_keys(questions: QuestionSet) -> Sequence[int]:
    """For each question of any set a number, equal where the images are."""
    if isinstance(questions, KnowsImages):
        return questions.image_keys()
    return numbered(_identities(questions))


def numbered(keys: Iterable[Hashable]) -> array[int]:
    """For each key a number, equal where the keys are, counted from 0 in first-seen order."""
    numbers: dict[Hashable, int] = {}
    return array("L", (numbers.setdefault(key, len(numbers)) for key in keys))


def _keys(questions: QuestionSet, places: Iterable[int]) -> Iterable[Hashable]:
    """For the question at each place something that is equal where the images are."""
    if isinstance(questions, KnowsImages):
        return map(questions.image_keys().__getitem__, places)
    return _identities(questions.at(places))


def _identities(questions: Iterable[Question]) -> Iterator[Hashable]:
    image, found = None, None
    for question in questions:
        if question.image is not image:
            image, found = question.image, identity(question.image)
        yield found


def image_id(question: Question) -> QuestionId | None:
    """What tells the question's image from others once its pixels are gone.

    It is the set's own id, else a hash of an image in memory; None for a file without an id,
    whose path tells, and for a question without an image.
    """
    image = question.image
    if question.image_id is not None or isinstance(image, Path):
        return question.image_id
    try:
        found = identity(image)
    except OSError:  # a damaged picture: its question has failed, and is scored nowhere
        return None
    return f"image:{found.hex() if isinstance(found, bytes) else found}" if image else None


def identity(image: ImageSource) -> Hashable:
    """A path as its text, whose hash is cheaper; of an image in memory, a hash of what it shows."""
    if isinstance(image, Path):
        return str(image)
    if isinstance(image, bytes):
        return hashlib.blake2b(image).digest()
    return _pixels.hash_of(image)


class _Pixels:
    """Hashes pictures, and remembers the last one: questions about one come together."""

    def __init__(self) -> None:
        self._last: Callable[[], Image.Image | None] = lambda: None
        self._hash = ""

    def hash_of(self, image: Image.Image) -> str:
        if self._last() is not image:
            from vqa_engine.images import content_hash  # brings Pillow

            self._hash = content_hash(image)
            self._last = weakref.ref(image)
        return self._hash


_pixels = _Pixels()
