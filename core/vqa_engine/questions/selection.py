"""A part of any question set: a sample drawn with a seed, or the first few."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence

from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.question_set import KnowsImages, QuestionSet


def select(
    questions: QuestionSet, *, limit: int | None = None, sample: int | None = None, seed: int = 0
) -> QuestionSet:
    """The sample first, then the first `limit` of it; the set itself if that is everything.

    Raises:
        ConfigurationError: a number below 1.
    """
    _check(limit=limit, sample=sample)
    if sample is not None and sample < len(questions):
        questions = _selected(questions, _drawn(len(questions), sample, seed))
    if limit is not None and limit < len(questions):
        questions = _selected(questions, array("Q", range(limit)))
    return questions


def _selected(questions: QuestionSet, places: array[int]) -> Selection:
    return (KnownSelection if isinstance(questions, KnowsImages) else Selection)(questions, places)


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

    def digest(self) -> str:
        """SHA-256 (hex) over the other set's digest and the places."""
        places = ",".join(map(str, self._places))
        return hashlib.sha256(f"{self._of.digest()} at {places}".encode()).hexdigest()


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
