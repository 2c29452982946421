"""The order in which questions are asked: all that are about one image, together.

A model then encodes each image once (DESIGN.md, section 5). The journal keeps each
question's place, so results come back in the caller's order.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from vqa_engine.adapter import ImageSource, Question
from vqa_engine.images import content_hash
from vqa_engine.questions.question_set import QuestionSet


def by_image(questions: QuestionSet) -> Iterator[tuple[int, Question]]:
    """(place in the caller's order, question), grouped by image, groups in first-seen order.

    Two files are one image when their bytes are equal, whatever their paths. Holds eight
    bytes a question and an entry an image, and asks the set for each question twice.
    """
    groups = _groups(questions)
    if all(earlier <= later for earlier, later in pairwise(groups)):
        return enumerate(questions)
    order = sorted(range(len(groups)), key=groups.__getitem__)
    return zip(order, questions.at(order), strict=True)


def _groups(questions: Iterable[Question]) -> array[int]:
    """The number of each question's image, counted from 0 in first-seen order."""
    numbers: dict[Hashable, int] = {}
    groups = array("L")
    last: tuple[object, int] = (None, 0)
    for question in questions:
        if question.image is not last[0]:
            last = question.image, numbers.setdefault(_identity(question.image), len(numbers))
        groups.append(last[1])
    same = _twins([name for name in numbers if isinstance(name, Path)])
    merged = {numbers[twin]: numbers[first] for twin, first in same.items()}
    return array("L", (merged.get(number, number) for number in groups)) if merged else groups


def _identity(image: ImageSource) -> Hashable:
    """A path as it is; of an image in memory, a hash of what it shows."""
    if isinstance(image, Path):
        return image
    if isinstance(image, bytes):
        return hashlib.blake2b(image).digest()
    return content_hash(image)


def _twins(paths: Sequence[Path]) -> dict[Path, Path]:
    """For each file whose bytes an earlier one has already, that earlier one.

    Only files that share their size with another have to be read.
    """
    sizes = {path: size for path in paths if (size := _size(path)) is not None}
    shared = {size for size, count in Counter(sizes.values()).items() if count > 1}
    first: dict[Hashable, Path] = {}
    suspects = (path for path, size in sizes.items() if size in shared)
    return {
        path: earlier
        for path in suspects
        if (earlier := first.setdefault(_digest(path), path)) is not path
    }


def _size(path: Path) -> int | None:
    """The file's size; None for one that cannot be asked, whose question will fail later."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _digest(path: Path) -> Hashable:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return path
