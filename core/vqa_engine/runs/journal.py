"""The crash-safe store of a run: SQLite in WAL mode, one row per adapter and question.

A row is committed before the next question starts: one transaction holds the row and
the note that the next question is in flight. WAL with `synchronous=NORMAL` survives
the death of any process at any moment; after a loss of power the last rows may be
missing, the file is still whole, and resuming asks those questions again
(https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from time import time
from typing import Concatenate, ParamSpec, TypeVar

import msgspec
from attrs import frozen

from vqa_engine.adapter import Answer, Question, QuestionId
from vqa_engine.errors import ConfigurationError, JournalError
from vqa_engine.results import Attempt, Failure, MemoryEvent, MemoryPrediction, Row

FILE = "journal.sqlite"
"""The journal's name in a run directory."""

# A row without a record is a question in flight. The id columns have no type, so that
# SQLite keeps 1 and "1" apart, as two questions.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    id PRIMARY KEY, position INTEGER, record BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    adapter TEXT, id, tries INTEGER DEFAULT 1, failed INTEGER, degraded INTEGER, record BLOB,
    PRIMARY KEY (adapter, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (adapter TEXT, time REAL, record BLOB);
"""
_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 8000;
"""
_ADD_QUESTION = "INSERT OR IGNORE INTO questions VALUES (?, ?, ?)"
_ADD_ROW = """
INSERT INTO rows (adapter, id, failed, degraded, record) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (adapter, id) DO UPDATE SET failed = ?3, degraded = ?4, record = ?5
"""
_ADD_EVENT = "INSERT INTO events VALUES (?, ?, ?)"
_BEGIN = """
INSERT INTO rows (adapter, id) VALUES (?, ?)
ON CONFLICT (adapter, id) DO UPDATE SET tries = tries + 1
"""
_ABANDON = "DELETE FROM rows WHERE adapter = ? AND record IS NULL"
_ROWS = """
SELECT rows.adapter, rows.record, questions.record FROM rows JOIN questions USING (id)
WHERE rows.record IS NOT NULL AND (?1 IS NULL OR rows.adapter = ?1)
ORDER BY rows.adapter, questions.position
"""


@frozen(kw_only=True)
class _StoredQuestion:
    """A question without its pixels; `image` is the path when it had one."""

    question_id: QuestionId
    text: str
    answers: tuple[str, ...]
    image: str | None
    image_id: QuestionId | None
    question_type: str | None
    answer_type: str | None
    choices: tuple[str, ...]
    origin: str | None


@frozen(kw_only=True)
class _StoredRow:
    """What a row holds beside its keys."""

    seconds: float
    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    prediction: MemoryPrediction | None = None
    degraded: bool = False


@frozen(kw_only=True)
class Tally:
    """How many questions an adapter is through with, and how many of them failed."""

    done: int = 0
    failed: int = 0
    degraded: int = 0


@frozen(kw_only=True)
class TimedEvent:
    """A memory event with its adapter and moment (seconds since the epoch)."""

    adapter: str
    time: float
    event: MemoryEvent


P = ParamSpec("P")
R = TypeVar("R")


def _guarded(
    call: Callable[Concatenate[Journal, P], R],
) -> Callable[Concatenate[Journal, P], R]:
    """Turn SQLite's errors into a `JournalError` that says what to do."""

    @wraps(call)
    def guarded(self: Journal, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(self, *args, **kwargs)
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error

    return guarded


class Journal:
    """The store of one run.

    `path` None keeps it in a private temporary file that ends with the object.

    Raises:
        JournalError: from every method, when the disk is full, the file is not
            writable or is no journal. What was committed before stays.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._closed = False
        try:
            self._db = sqlite3.connect(path or "", isolation_level=None)
            self._db.executescript(_SETTINGS + _SCHEMA)
        except sqlite3.Error as error:
            raise _explained(path, error) from error
        self._encode = msgspec.json.Encoder().encode
        self._row = msgspec.json.Decoder(_StoredRow).decode
        self._question = msgspec.json.Decoder(_StoredQuestion).decode
        self._event = msgspec.json.Decoder(MemoryEvent).decode

    @_guarded
    def begin(self, adapter: str, *question_ids: QuestionId) -> None:
        """Commit all rows so far, and the note that these questions are about to be asked."""
        self._open()
        for question_id in question_ids:
            self._db.execute(_BEGIN, (adapter, question_id))
        self._db.execute("COMMIT")

    @_guarded
    def abandon(self, adapter: str) -> None:
        """Note that what is in flight was not asked after all, so that no try is counted."""
        self._db.execute(_ABANDON, (adapter,))

    @_guarded
    def record(self, position: int, row: Row, events: tuple[MemoryEvent, ...] = ()) -> None:
        """Add a row, its question and its memory events; `begin` or `flush` commits them.

        `position` is the question's place in the caller's order, from 0.
        """
        key, question = row.question.question_id, self._encode(_stored_question(row.question))
        self._open()
        self._db.execute(_ADD_QUESTION, (key, position, question))
        stored, failed = self._encode(_stored_row(row)), row.failure is not None
        self._db.execute(_ADD_ROW, (row.adapter, key, failed, row.degraded, stored))
        for event in events:
            self._db.execute(_ADD_EVENT, (row.adapter, time(), self._encode(event)))

    @_guarded
    def flush(self) -> None:
        """Commit all that was recorded."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    @_guarded
    def record_events(self, adapter: str, events: tuple[MemoryEvent, ...]) -> None:
        """Commit memory events that belong to no question."""
        for event in events:
            self._db.execute(_ADD_EVENT, (adapter, time(), self._encode(event)))

    @_guarded
    def has(self, adapter: str, question_id: QuestionId) -> bool:
        """Whether this adapter is through with this question."""
        found = self._db.execute(
            "SELECT 1 FROM rows WHERE adapter = ? AND id = ? AND record IS NOT NULL",
            (adapter, question_id),
        )
        return found.fetchone() is not None

    @_guarded
    def tries(self, adapter: str, question_id: QuestionId) -> int:
        """How often this question was begun and the whole process died before its row."""
        found = self._db.execute(
            "SELECT tries FROM rows WHERE adapter = ? AND id = ? AND record IS NULL",
            (adapter, question_id),
        ).fetchone()
        return int(found[0]) if found else 0

    @_guarded
    def begun(self, adapter: str) -> frozenset[QuestionId]:
        """The questions that were begun and have no row."""
        found = self._db.execute(
            "SELECT id FROM rows WHERE adapter = ? AND record IS NULL", (adapter,)
        )
        return frozenset(key for (key,) in found)

    @_guarded
    def tally(self, adapter: str) -> Tally:
        """The counts of one adapter."""
        done, failed, degraded = self._db.execute(
            "SELECT count(*), total(failed), total(degraded) FROM rows "
            "WHERE adapter = ? AND record IS NOT NULL",
            (adapter,),
        ).fetchone()
        return Tally(done=done, failed=int(failed), degraded=int(degraded))

    @_guarded
    def labels(self, wanted: str | None = None) -> tuple[str, ...]:
        """The labels that have rows, sorted, or the one that is wanted.

        Raises:
            ConfigurationError: there is none of that name.
        """
        found = self._db.execute("SELECT DISTINCT adapter FROM rows ORDER BY adapter")
        known = tuple(label for (label,) in found)
        if wanted is None:
            return known
        if wanted not in known:
            raise ConfigurationError(
                f"The run has no adapter {wanted!r}; it has: {', '.join(known)}."
            )
        return (wanted,)

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Rows of one adapter, or of all, in the caller's question order; lazy.

        A question read back has its image's path; the image of one that had no path
        is `b""`.
        """
        for label, row, question in self._select(_ROWS, (adapter,)):
            stored = self._row(row)
            yield Row(
                adapter=label,
                question=_question(self._question(question)),
                answer=stored.answer,
                failure=stored.failure,
                attempts=stored.attempts,
                seconds=stored.seconds,
                prediction=stored.prediction,
                degraded=stored.degraded,
            )

    def events(self, adapter: str | None = None) -> Iterator[TimedEvent]:
        """Memory events in the order they happened; lazy."""
        query = (
            "SELECT adapter, time, record FROM events "
            "WHERE ?1 IS NULL OR adapter = ?1 ORDER BY rowid"
        )
        for label, moment, record in self._select(query, (adapter,)):
            yield TimedEvent(adapter=label, time=moment, event=self._event(record))

    def close(self) -> None:
        """Commit and close the file; twice is safe."""
        if not self._closed:
            self.flush()
            self._db.close()
            self._closed = True

    def _open(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    @_guarded
    def _select(self, query: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        return self._db.execute(query, values)


def _stored_question(question: Question) -> _StoredQuestion:
    image = question.image
    return _StoredQuestion(
        question_id=question.question_id,
        text=question.text,
        answers=question.answers,
        image=str(image) if isinstance(image, Path) else None,
        image_id=question.image_id,
        question_type=question.question_type,
        answer_type=question.answer_type,
        choices=question.choices,
        origin=question.origin,
    )


def _question(stored: _StoredQuestion) -> Question:
    return Question(
        question_id=stored.question_id,
        image=Path(stored.image) if stored.image else b"",
        text=stored.text,
        answers=stored.answers,
        image_id=stored.image_id,
        question_type=stored.question_type,
        answer_type=stored.answer_type,
        choices=stored.choices,
        origin=stored.origin,
    )


def _stored_row(row: Row) -> _StoredRow:
    return _StoredRow(
        seconds=row.seconds,
        answer=row.answer,
        failure=row.failure,
        attempts=row.attempts,
        prediction=row.prediction,
        degraded=row.degraded,
    )


def _explained(path: Path | None, error: sqlite3.Error) -> JournalError:
    directory = path.parent if path else Path()
    remedies = {
        "full": "Free some space and run the same command again: it continues.",
        "readonly": "Make the directory writable, or give another --output.",
        "unable to open": "Make the directory writable, or give another --output.",
        "not a database": "It is no journal of vqa-engine: give another --output.",
        "malformed": "It is damaged: give another --output, or --fresh.",
    }
    text = str(error)
    remedy = next((say for part, say in remedies.items() if part in text), "")
    what = f"The journal {path} cannot be used: {text}. Rows committed before are safe. {remedy}"
    return JournalError(directory, what.rstrip())
