"""How questions and outcomes are written in a journal, and what is made of those that cannot be.

Records are JSON, and so UTF-8. A file name in another encoding, half of a surrogate pair or
a value of a wrong type does not fit: its row becomes a failure, and what does not fit is
written in a form that people can read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from attrs import evolve, field, frozen

from vqa_engine.adapter import Answer, ImageSource, Question, QuestionId
from vqa_engine.questions.ordering import image_id
from vqa_engine.results import Attempt, Failure, MemoryEvent, MemoryPrediction, Row

Key = int | str | bytes
"""A question id as SQLite holds it."""

UNSTORABLE = (TypeError, ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError)
"""What encoding raises."""

UNREADABLE = (*UNSTORABLE, OSError)
"""What decoding raises; the last for a moment that the calendar of the system does not have."""

_BITS = 64
"""What SQLite's integers have, sign included."""

_LAST_PLACE = 1 << 40

T = TypeVar("T")


@frozen(kw_only=True)
class _StoredQuestion:
    """A question without its pixels.

    Of `image` and `images` the paths are kept, None for one that had no path; `image_id` of
    an image in memory is a hash of it where the question set gave none, so that scores know
    which questions share it.
    """

    question_id: QuestionId
    text: str
    answers: tuple[str, ...]
    image: str | None
    image_id: QuestionId | None
    question_type: str | None
    answer_type: str | None
    choices: tuple[str, ...]
    origin: str | None
    images: tuple[str | None, ...] = ()
    right: int | None = None
    group: QuestionId | None = None
    labels: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class _StoredRow:
    """What a row holds beside its keys."""

    seconds: float
    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    prediction: MemoryPrediction | None = None
    degraded: bool = False
    place: str = ""


_LONG = re.compile(rb"\d{19}")


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    """Decodes a record; of JSON's integers it takes those of 64 bits.

    The reader raises an ArithmeticError for others, and what msgspec raises.
    """
    decode = msgspec.json.Decoder(kind).decode

    def read(record: bytes) -> T:
        made = decode(record)
        if _LONG.search(record):
            msgspec.msgpack.encode(made)  # it knows no others either
        return made

    return read


_encode = msgspec.json.Encoder().encode
_row = _reader(_StoredRow)
_question = _reader(_StoredQuestion)
_event = _reader(MemoryEvent)


def key(question_id: object) -> Key:
    """The id for a column without a type: no two ids share a key, 1 and "1" neither.

    What SQLite's integers and text cannot hold becomes bytes.
    """
    if isinstance(question_id, int):
        fits = question_id.bit_length() < _BITS
        return question_id if fits else b"int %d" % question_id
    if isinstance(question_id, str):
        return question_id if _is_unicode(question_id) else _bytes("str", question_id)
    return _bytes(type(question_id).__name__, _readable(question_id))


def storable(row: Row) -> tuple[Row, bytes, bytes]:
    """The row that is really stored, its question's record and its own.

    The row comes back as it is, or as a failure if it, or its question, cannot be stored.
    """
    try:
        return _both(row)
    except Exception as error:
        for made in (_failed, _bare):
            with suppress(Exception):
                return _both(made(row, error))
        raise


def _both(row: Row) -> tuple[Row, bytes, bytes]:
    """A row with its question's record and its own."""
    if row.answer is None and row.failure is None:
        raise ValueError("it has neither an answer nor a failure")
    return row, _encoded_question(row.question), _encoded_row(row)


def _encoded_question(question: Question) -> bytes:
    """The question's record, read back once to be sure of it."""
    image, *images = map(_path, question.all_images)
    stored = _StoredQuestion(
        question_id=question.question_id,
        text=question.text,
        answers=question.answers,
        image=image,
        image_id=image_id(question),
        question_type=question.question_type,
        answer_type=question.answer_type,
        choices=question.choices,
        origin=question.origin,
        images=tuple(images),
        right=question.right,
        group=question.group,
        labels=question.labels,
    )
    return _checked(stored, _decoded_question)


def _encoded_row(row: Row) -> bytes:
    """The row's record, read back once to be sure of it."""
    stored = _StoredRow(
        seconds=row.seconds,
        answer=row.answer,
        failure=row.failure,
        attempts=row.attempts,
        prediction=row.prediction,
        degraded=row.degraded,
        place=row.place,
    )
    record = _encode(stored)
    read = _row(record)
    # A number that is none is written as null, and null is read as a lack of it.
    if (read.answer is None, read.failure is None) != (row.answer is None, row.failure is None):
        raise ValueError("its answer or its failure is a number")
    return record


def encoded_event(event: MemoryEvent) -> bytes:
    """The event's record; what of it does not fit is in a readable form."""
    try:
        return _checked(event, _event)
    except Exception:  # noqa: BLE001  a strategy notes what it likes
        shown = None if event.question_id is None else _readable_id(event.question_id)
        strategy, call, detail = map(_readable, (event.strategy, event.call, event.detail))
        return _encode(MemoryEvent(strategy=strategy, call=call, detail=detail, question_id=shown))


def decoded_row(adapter: object, id: object, row: bytes, question: bytes) -> Row:
    """A row from its columns: the question's id as it is stored, and two records.

    Raises:
        ValueError: one of them is damaged, or of another format (`UNREADABLE` has all that is
            raised); `msgspec.MsgspecError` is one, and a column of another type.
    """
    if not isinstance(adapter, str) or not isinstance(row, bytes):
        raise TypeError("a column is of another type")
    if not isinstance(question, bytes):
        raise TypeError("its question is missing")
    stored, asked = _row(row), _decoded_question(question)
    if not isinstance(id, bytes) and key(asked.question_id) != id:  # bytes is what does not fit
        raise ValueError("its question is another")
    return Row(
        adapter=adapter,
        question=asked,
        answer=stored.answer,
        failure=stored.failure,
        attempts=stored.attempts,
        seconds=stored.seconds,
        prediction=stored.prediction,
        degraded=stored.degraded,
        place=stored.place,
    )


def decoded_place(position: object) -> int:
    """A question's place in the caller's order, from 0.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(position, int) or not 0 <= position < _LAST_PLACE:
        raise ValueError("its question has no place")
    return position


def decoded_event(record: bytes) -> MemoryEvent:
    """An event from its record.

    Raises:
        msgspec.MsgspecError: it is damaged, or of another format.
    """
    return _event(record)


def _decoded_question(record: bytes) -> Question:
    stored = _question(record)
    return Question(
        question_id=stored.question_id,
        image=_image(stored.image),
        text=stored.text,
        answers=stored.answers,
        image_id=stored.image_id,
        question_type=stored.question_type,
        answer_type=stored.answer_type,
        choices=stored.choices,
        origin=stored.origin,
        images=tuple(map(_image, stored.images)),
        right=stored.right,
        group=stored.group,
        labels=stored.labels,
    )


def _path(image: ImageSource) -> str | None:
    return str(image) if isinstance(image, Path) else None


def _image(path: str | None) -> ImageSource:
    return Path(path) if path else b""


def _checked(value: object, decode: Callable[[bytes], T]) -> bytes:
    """The record of a value; a wrong type in it shows only when it is read."""
    record = _encode(value)
    decode(record)
    return record


def _failed(row: Row, error: Exception) -> Row:
    """The row as a failure that can be stored."""
    question, what = row.question, "answer"
    try:
        _encoded_question(question)
    except UNSTORABLE:
        question, what = _readable_question(question), "question"
    message = f"the {what} cannot be stored: {_reason(error)}"
    failure = row.failure or Failure(cause="adapter", message=message)
    return Row(
        adapter=row.adapter,
        question=question,
        failure=_readable_failure(failure),
        attempts=tuple(map(_readable_attempt, row.attempts)),
        seconds=row.seconds,
        place=row.place,
    )


def _bare(row: Row, error: Exception) -> Row:
    """The row as a failure of which little more is kept than that it was."""
    asked = row.question
    question = Question(
        question_id=_readable_id(asked.question_id), image=b"", text=_readable(asked.text)
    )
    message = f"the row cannot be stored: {_reason(error)}"
    failure = Failure(cause="adapter", message=message)
    return Row(adapter=row.adapter, question=question, failure=failure)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it holds text that is not valid Unicode"
    return _readable(error)


def _readable_failure(failure: Failure) -> Failure:
    return evolve(
        failure,
        message=_readable(failure.message),
        detail=_readable(failure.detail),
        attempts=tuple(map(_readable_attempt, failure.attempts)),
    )


def _readable_attempt(attempt: Attempt) -> Attempt:
    return evolve(attempt, message=_readable(attempt.message))


def _readable_question(question: Question) -> Question:
    image, *images = (path and _readable(path) for path in map(_path, question.all_images))
    return Question(
        question_id=_readable_id(question.question_id),
        image=_image(image),
        text=_readable(question.text),
        answers=tuple(map(_readable, question.answers or ())),
        image_id=None if question.image_id is None else _readable_id(question.image_id),
        question_type=_readable_or_none(question.question_type),
        answer_type=_readable_or_none(question.answer_type),
        choices=tuple(map(_readable, question.choices or ())),
        origin=_readable_or_none(question.origin),
        images=tuple(map(_image, images)),
        right=question.right,
        group=None if question.group is None else _readable_id(question.group),
        labels={_readable(name): _readable(value) for name, value in question.labels.items()},
    )


def _readable_id(question_id: object) -> QuestionId:
    if isinstance(question_id, int) and int(question_id).bit_length() < _BITS:
        return int(question_id)
    return _readable(question_id)


def _readable_or_none(value: object) -> str | None:
    return None if value is None else _readable(value)


def _readable(value: object) -> str:
    """The value as text that UTF-8 holds, with escapes for what it does not."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001  anybody's `__str__` may raise anything
        return f"<{type(value).__name__}>"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes(kind: str, text: str) -> bytes:
    return f"{kind} {text}".encode("utf-8", "surrogatepass")
