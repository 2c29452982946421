"""The order in which questions are asked: all that are about one image, together.

A model then encodes each image once (DESIGN.md, section 5). The journal keeps each
question's place, so results come back in the caller's order.
"""

from __future__ import annotations

import hashlib
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from vqa_engine.adapter import ImageSource, Question
from vqa_engine.errors import ImageError
from vqa_engine.images import Outline, content_hash, open_image, outline, sketch
from vqa_engine.questions.question_set import QuestionSet

AT_ONCE = 4
"""JPEGs decoded side by side; a large one may take hundreds of megabytes meanwhile."""


def by_image(questions: QuestionSet) -> Iterator[tuple[int, Question]]:
    """(place in the caller's order, question), grouped by image, groups in first-seen order.

    Two files are one image when they show the same pixels, whatever their paths, formats and
    metadata; encoded bytes in memory when they are equal. Holds eight bytes a question and
    an entry an image, and asks the set for each question twice.
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
    """For each file whose picture an earlier one shows already, that earlier one."""
    same = _same_bytes(paths)
    alike = _same_pixels([path for path in paths if path not in same])
    return alike | {path: alike.get(earlier, earlier) for path, earlier in same.items()}


def _same_bytes(paths: Sequence[Path]) -> dict[Path, Path]:
    """Only files that share their size with another have to be read."""
    sizes = {path: size for path in paths if (size := _size(path)) is not None}
    return _later(_shared(sizes), _digest)


def _same_pixels(paths: Sequence[Path]) -> dict[Path, Path]:
    """Of files that differ, only those with equal edges are looked at more closely."""
    outlines = {path: found for path in paths if (found := outline(path)) is not None}
    rooms: dict[tuple[int, int], list[Path]] = {}
    for path, found in outlines.items():
        rooms.setdefault(found.edges, []).append(path)
    suspects = [path for room in rooms.values() for path in _suspects(room, outlines)]
    return _later(suspects, _content)


def _suspects(room: list[Path], outlines: Mapping[Path, Outline]) -> Iterable[Path]:
    """Files with equal edges that may show one picture.

    Decoding to a sketch is quick, but only JPEGs can be, and only their sketches compare.
    """
    if len(room) == 1:
        return ()
    if not all(outlines[path].jpeg for path in room):
        return room
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sketches = {
            path: found
            for some in _slices(room)
            for path, found in zip(some, pool.map(sketch, some), strict=True)
            if found is not None
        }
    return _shared(sketches)


def _slices(paths: list[Path], length: int = 256) -> Iterator[list[Path]]:
    """A thread pool makes a record for each thing it is given, so it gets few at a time."""
    return (paths[start : start + length] for start in range(0, len(paths), length))


def _shared(facts: Mapping[Path, Hashable]) -> list[Path]:
    """The files whose fact another one has as well, in their order."""
    counts = Counter(facts.values())
    return [path for path, fact in facts.items() if counts[fact] > 1]


def _later(paths: Iterable[Path], identity: Callable[[Path], Hashable]) -> dict[Path, Path]:
    """For each file whose identity an earlier one has already, that earlier one."""
    first: dict[Hashable, Path] = {}
    pairs = ((path, first.setdefault(identity(path), path)) for path in paths)
    return {path: earlier for path, earlier in pairs if earlier is not path}


def _size(path: Path) -> int | None:
    """A file's size; None for one that cannot be asked or is none, whose question will fail."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _digest(path: Path) -> Hashable:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return path


def _content(path: Path) -> Hashable:
    """What a file shows; a broken one is like no other, and fails its own question later."""
    try:
        return content_hash(open_image(Question(question_id="", image=path, text="")))
    except ImageError:
        return path
