"""The official VQA v2 pair: a questions JSON, an annotations JSON, a folder of COCO images.

Both files are read whole and kept compact: numbers in arrays, every string and every tuple
of ground truths once. Fields that are not used are never decoded.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.question_set import digest_of
from vqa_engine.questions.raw_json import decoded, read_object

Shared = TypeVar("Shared", bound=Hashable)

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

_SUBTYPE = re.compile(r"(?:train|val|test-dev|test)20\d\d")


class _QuestionsFile(msgspec.Struct):
    questions: list[msgspec.Raw]
    data_subtype: str | None = None


class _AnnotationsFile(msgspec.Struct):
    annotations: list[msgspec.Raw]


class _Asked(msgspec.Struct):
    question_id: _Id
    image_id: _Id
    question: str


class _Truth(msgspec.Struct):
    answer: str


class _Annotation(msgspec.Struct):
    question_id: _Id
    image_id: _Id
    answers: list[_Truth]
    question_type: str | None = None
    answer_type: str | None = None


@frozen
class _Known:
    """What an annotation adds to its question; questions with equal ones share it."""

    answers: tuple[str, ...] = ()
    question_type: str | None = None
    answer_type: str | None = None


@frozen(eq=False)
class VqaV2:
    """A checked VQA v2 pair, or its questions alone."""

    path: Path
    image_root: Path
    subtype: str | None
    """`train2014`, `val2014`, `test2015`: it is a part of the image names."""
    _ids: array[int] = field(repr=False)
    _image_ids: array[int] = field(repr=False)
    _texts: Sequence[str] = field(repr=False)
    _known: Sequence[_Known] = field(repr=False)

    @classmethod
    def load(cls, path: Path, annotations: Path | None, image_root: Path) -> VqaV2:
        """Read and check the questions and, if given, their annotations.

        Raises:
            QuestionSetError: a file cannot be read or has another form, a question id
                is used twice, the two files do not fit, or there is no question.
        """
        file = read_object(path, _QuestionsFile)
        ids, image_ids, texts = _columns(path, file.questions)
        if not ids:
            raise QuestionSetError("it holds no question", file=path)
        places = _places(path, ids)
        known = [_Known()] * len(ids)
        if annotations is not None:
            known = _annotated(annotations, places, image_ids)
        subtype = _subtype(file.data_subtype, path)
        return cls(path, image_root, subtype, ids, image_ids, texts, known)

    names_files = True

    @property
    def name(self) -> str:
        """The questions file's name."""
        return self.path.name

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(len(self)))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given."""
        return map(self._question, places)

    def image_keys(self) -> Sequence[int]:
        """The images' ids, which are their files' names as well."""
        return self._image_ids

    def digest(self) -> str:
        """SHA-256 (hex) over questions and ground truths, not over the files' layout."""
        return digest_of(self)

    def _question(self, place: int) -> Question:
        known = self._known[place]
        return Question(
            question_id=self._ids[place],
            image=self.image_root / self._image_name(self._image_ids[place]),
            text=self._texts[place],
            answers=known.answers,
            image_id=self._image_ids[place],
            question_type=known.question_type,
            answer_type=known.answer_type,
            origin=f"{self.path.name}:questions[{place}]",
            image_root=self.image_root,
        )

    def _image_name(self, image_id: int) -> str:
        if self.subtype is None:
            return f"{image_id}.jpg"
        return f"COCO_{self.subtype}_{image_id:012d}.jpg"


def _columns(path: Path, items: Sequence[msgspec.Raw]) -> tuple[array[int], array[int], list[str]]:
    ids, image_ids = array("q"), array("q")
    texts: list[str] = []
    pool: dict[str, str] = {}
    for asked in decoded(path, "questions", items, _Asked):
        ids.append(asked.question_id)
        image_ids.append(asked.image_id)
        texts.append(_shared(pool, asked.question))
    return ids, image_ids, texts


def _places(path: Path, ids: Sequence[int]) -> dict[int, int]:
    """The place of each question, by its id."""
    places: dict[int, int] = {}
    for place, question_id in enumerate(ids):
        if (first := places.setdefault(question_id, place)) != place:
            raise QuestionSetError(
                f"questions[{place}] has the question_id of questions[{first}]",
                file=path,
                question_id=question_id,
            )
    return places


def _annotated(path: Path, places: dict[int, int], image_ids: Sequence[int]) -> list[_Known]:
    """What the annotations know of each question, in the questions' order."""
    items = read_object(path, _AnnotationsFile).annotations
    known: list[_Known | None] = [None] * len(places)
    strings: dict[str, str] = {}
    pool: dict[_Known, _Known] = {}
    for annotation in decoded(path, "annotations", items, _Annotation):
        place = _place(path, annotation, places, image_ids)
        if known[place] is not None:
            raise _misfit(path, annotation.question_id, "it is annotated twice")
        known[place] = _shared(pool, _knowledge(annotation, strings))
    _check_all_annotated(path, places, known)
    return [one for one in known if one is not None]


def _place(
    path: Path, annotation: _Annotation, places: dict[int, int], image_ids: Sequence[int]
) -> int:
    place = places.get(annotation.question_id)
    if place is None:
        raise _misfit(path, annotation.question_id, "the questions file has no such question")
    if image_ids[place] != annotation.image_id:
        raise _misfit(
            path,
            annotation.question_id,
            f"its image_id is {annotation.image_id} here and {image_ids[place]} in the "
            "questions file",
        )
    return place


def _knowledge(annotation: _Annotation, strings: dict[str, str]) -> _Known:
    return _Known(
        tuple([_shared(strings, truth.answer) for truth in annotation.answers]),
        annotation.question_type and _shared(strings, annotation.question_type),
        annotation.answer_type and _shared(strings, annotation.answer_type),
    )


def _check_all_annotated(
    path: Path, places: dict[int, int], known: Sequence[_Known | None]
) -> None:
    bare = [question_id for question_id, place in places.items() if known[place] is None]
    if bare:
        others = f" (nor have {len(bare) - 1} others)" if len(bare) > 1 else ""
        raise _misfit(path, bare[0], f"it has no annotation{others}")


def _misfit(path: Path, question_id: int, reason: str) -> QuestionSetError:
    return QuestionSetError(reason, file=path, question_id=question_id)


def _subtype(stated: str | None, path: Path) -> str | None:
    """The images' split: as the file states it, else from its name. test-dev shares test's."""
    found = stated or ((match := _SUBTYPE.search(path.name)) and match[0]) or None
    return found and found.replace("test-dev", "test")


def _shared(pool: dict[Shared, Shared], value: Shared) -> Shared:
    """The first value in the pool that equals this one, so that equal ones are kept once."""
    return pool.setdefault(value, value)
