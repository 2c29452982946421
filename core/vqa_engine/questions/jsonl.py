"""JSONL: one question a line, image paths relative to the file or to the image folder.

Fields of a line: `image` and `question` (or `text`); optional are `question_id` (else the
line's number), `answers` (strings, or objects with `answer`) or `answer` (one string, for
when there is no `answers`; POPE calls it `label`), `image_id`, `question_type`,
`answer_type`, `choices` and `right`, the right one: its index from 0, its letter or its text.
Other fields are passed over.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import msgspec
from attrs import field, frozen

from vqa_engine.adapter import Question, QuestionId
from vqa_engine.errors import QuestionSetError
from vqa_engine.files import open_regular
from vqa_engine.questions.presence import check_truths
from vqa_engine.questions.question_set import digest_of
from vqa_engine.questions.table.cells import right
from vqa_engine.questions.unchanged import Unchanged

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str  # what the journal can hold

_BOM = b"\xef\xbb\xbf"


class _TruthObject(msgspec.Struct):
    answer: str


class _Line(msgspec.Struct):
    image: str
    question: str | None = None
    text: str | None = None
    question_id: _Id | None = None
    answers: list[str | _TruthObject] | None = None
    answer: str | None = None
    label: str | None = None
    image_id: _Id | None = None
    question_type: str | None = None
    answer_type: str | None = None
    choices: tuple[str, ...] = ()
    right: int | str | None = None


_DECODER = msgspec.json.Decoder(_Line)


@frozen(eq=False)
class JsonLines:
    """A checked JSONL file. It holds some 24 bytes a question; the file is read again."""

    path: Path
    image_root: Path
    _offsets: array[int] = field(repr=False)
    _numbers: array[int] = field(repr=False)
    _images: array[int] = field(repr=False)
    _checked: Unchanged = field(repr=False)

    @classmethod
    def load(cls, path: Path, image_root: Path) -> JsonLines:
        """Check every line and note where it begins.

        Raises:
            QuestionSetError: the file cannot be read, a line is not a question, an id
                is used twice, or there is no question; file, line and id are named.
        """
        offsets, numbers, images = array("Q"), array("L"), array("L")
        names: dict[str, int] = {}
        truths = 0
        first: dict[QuestionId, int] = {}
        checked = Unchanged.of(path)
        for offset, number, text in _lines(path):
            line = _parsed(text, path, number)
            question_id = _id(line, number)
            if (earlier := first.setdefault(question_id, number)) != number:
                raise _twice(path, number, question_id, earlier)
            offsets.append(offset)
            numbers.append(number)
            images.append(names.setdefault(line.image, len(names)))
            truths += bool(_truths(line)) or _right(line, path, number) is not None
        if not offsets:
            raise QuestionSetError("it holds no question", file=path)
        check_truths(path, truths, len(offsets))
        checked.check(path)
        return cls(path, image_root, offsets, numbers, images, checked)

    names_files = True

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(len(self)))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given.

        Raises:
            QuestionSetError: the file has changed since it was checked.
        """
        with _opened(self.path) as file:
            for place in places:
                number = self._numbers[place]
                file.seek(self._offsets[place])
                line = file.readline()
                self._checked.check(file.fileno())
                yield self._question(_parsed(line, self.path, number), number)

    def image_keys(self) -> Sequence[int]:
        """The number of each question's image, counted from 0 in first-seen order."""
        return self._images

    def digest(self) -> str:
        """SHA-256 (hex) over the questions, not over the file's layout."""
        return digest_of(self)

    def _question(self, line: _Line, number: int) -> Question:
        return Question(
            question_id=_id(line, number),
            image=self.image_root / line.image,
            text=_text(line),
            answers=_truths(line),
            image_id=line.image_id,
            question_type=line.question_type,
            answer_type=line.answer_type,
            choices=line.choices,
            right=_right(line, self.path, number),
            origin=f"{self.path.name}:{number}",
            image_root=self.image_root,
        )


def _opened(path: Path) -> BufferedReader:
    try:
        return open_regular(path)
    except OSError as error:
        raise QuestionSetError(f"it cannot be read: {error.strerror}", file=path) from error


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number (from 1) and bytes of each line that is not blank."""
    with _opened(path) as file:
        offset = 0
        for number, line in enumerate(file, start=1):
            start = len(_BOM) if number == 1 and line.startswith(_BOM) else 0
            if line[start:].strip():
                yield offset + start, number, line[start:]
            offset += len(line)


def _parsed(text: bytes, path: Path, number: int) -> _Line:
    try:
        line = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise QuestionSetError(f"not a question: {error}", file=path, line=number) from error
    except UnicodeDecodeError as error:
        raise QuestionSetError("it is not UTF-8 text", file=path, line=number) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise QuestionSetError(f"invalid JSON: {error}", file=path, line=number) from error
    if line.question is None and line.text is None:
        raise QuestionSetError(
            "not a question: it has neither `question` nor `text`",
            file=path,
            line=number,
            question_id=line.question_id,
        )
    return line


def _id(line: _Line, number: int) -> QuestionId:
    return number if line.question_id is None else line.question_id


def _text(line: _Line) -> str:
    return line.question if line.question is not None else line.text or ""


def _truths(line: _Line) -> tuple[str, ...]:
    if line.answers is None:
        single = line.label if line.answer is None else line.answer
        return () if single is None else (single,)
    return tuple(
        truth.answer if isinstance(truth, _TruthObject) else truth for truth in line.answers
    )


def _right(line: _Line, path: Path, number: int) -> int | None:
    try:
        return right(line.right, "right", line.choices)
    except QuestionSetError as error:
        raise QuestionSetError(
            error.reason, file=path, line=number, question_id=line.question_id
        ) from error


def _twice(path: Path, number: int, question_id: QuestionId, earlier: int) -> QuestionSetError:
    return QuestionSetError(
        f"duplicate question_id (first on line {earlier})",
        file=path,
        line=number,
        question_id=question_id,
    )
