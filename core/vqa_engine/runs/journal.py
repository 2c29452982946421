"""The crash-safe store of a run: SQLite in WAL mode, one row per adapter and question.

A row is committed before the next question starts: one transaction holds the row and
the note that the next question is in flight. WAL with `synchronous=NORMAL` survives
the death of any process at any moment; after a loss of power the last rows may be
missing, the file is still whole, and resuming asks those questions again
(https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from pathlib import Path
from time import time
from typing import Any, Concatenate, ParamSpec, TypeVar

from attrs import field, frozen

from vqa_engine.adapter import QuestionId
from vqa_engine.errors import ConfigurationError, JournalError
from vqa_engine.files import Stamp
from vqa_engine.results import MemoryEvent, Row
from vqa_engine.runs import stored
from vqa_engine.runs.database import (
    ERRORS,
    WRITING,
    Patience,
    Use,
    explained,
    opened,
    opened_to_read,
    unusable,
)
from vqa_engine.runs.stored import Key

FILE = "journal.sqlite"
"""The journal's name in a run directory."""

_ADD_QUESTION = "INSERT OR IGNORE INTO questions VALUES (?, ?, ?)"
_ADD_ROW = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)"
_ADD_EVENT = "INSERT INTO events VALUES (?, ?, ?)"
_BEGIN = """
INSERT INTO in_flight VALUES (?, ?, 1)
ON CONFLICT (adapter, id) DO UPDATE SET tries = tries + 1
"""
_END = "DELETE FROM in_flight WHERE adapter = ? AND id = ?"
_ABANDON = "DELETE FROM in_flight WHERE adapter = ?"
_ROWS = """
SELECT rows.adapter, id, position, rows.record, questions.record
FROM rows LEFT JOIN questions USING (id)
WHERE (?1 IS NULL OR rows.adapter = ?1) AND (cause IS NULL OR ?2)
ORDER BY rows.adapter, position
"""
_ROWS_AFTER = """
SELECT rows.adapter, id, rows.rowid, rows.record, questions.record
FROM rows LEFT JOIN questions USING (id)
WHERE rows.adapter = ? AND rows.rowid > ?
ORDER BY position
"""
_PLACES = """
SELECT json_extract(record, '$.place') AS place, count(*)
FROM (SELECT CAST(record AS TEXT) AS record FROM rows WHERE adapter = ?)
WHERE json_valid(record) AND typeof(place) = 'text' AND place <> ''
GROUP BY place ORDER BY place
"""
_LABELS = "SELECT DISTINCT adapter FROM rows ORDER BY adapter"
_EVENTS = """
SELECT rowid, adapter, time, record FROM events WHERE ?1 IS NULL OR adapter = ?1 ORDER BY rowid
"""


@frozen(kw_only=True)
class Tally:
    """How an adapter did: `done` questions have a row, `failed` of them no answer.

    `causes` counts the failed by cause (`vqa_engine.results.Cause`), the most frequent first.
    `degraded` were answered by a cheaper plan. `unasked` questions have no row. `places` counts
    the rows by the place that answered, in a run that was given places.
    """

    done: int = 0
    failed: int = 0
    degraded: int = 0
    unasked: int = 0
    causes: Mapping[str, int] = field(factory=dict)
    places: Mapping[str, int] = field(factory=dict)

    @property
    def total(self) -> int:
        """All questions of the run."""
        return self.done + self.unasked

    @property
    def open(self) -> int:
        """Questions that have no answer, which the same command asks again."""
        return self.failed + self.unasked


@frozen(kw_only=True)
class TimedEvent:
    """A memory event with its adapter and moment (seconds since the epoch)."""

    adapter: str
    time: float
    event: MemoryEvent


def decoded_event(label: object, moment: object, record: object) -> TimedEvent:
    """An event from its columns.

    Raises:
        ValueError: they are damaged, or of another format (`stored.UNREADABLE`).
    """
    if not isinstance(label, str) or not isinstance(moment, float) or not isinstance(record, bytes):
        raise TypeError("a column is of another type")
    datetime.fromtimestamp(moment)  # a moment that the calendar has
    return TimedEvent(adapter=label, time=moment, event=stored.decoded_event(record))


def _is(stamp: Stamp | None, path: Path) -> bool:
    try:
        found = Stamp.of(path)
    except OSError:
        return False
    return stamp is not None and (found.device, found.inode) == (stamp.device, stamp.inode)


P = ParamSpec("P")
R = TypeVar("R")


def _guarded(
    call: Callable[Concatenate[Journal, P], R],
) -> Callable[Concatenate[Journal, P], R]:
    """Turn SQLite's errors into a `JournalError` that says what to do."""

    @wraps(call)
    def guarded(self: Journal, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            self._patience.again()
            return call(self, *args, **kwargs)
        except ERRORS as error:
            raise self._explained(error) from error

    return guarded


class Journal:
    """The store of one run.

    `path` None keeps it in a private temporary file that ends with the object. Unless
    it is opened for `WRITING` the file must be there, and nothing in its folder is changed.

    Raises:
        JournalError: from every method, when the disk is full, the file is not
            writable, is no journal or has another format. What was committed before stays.
    """

    def __init__(self, path: Path | None = None, *, use: Use = WRITING) -> None:
        self.path, self._use, self._closed = path, use, False
        try:
            self._db = opened(path) if use is WRITING or not path else opened_to_read(path)
        except ERRORS as error:
            raise self._explained(error) from error
        self._patience = Patience(self._db)
        self._stamp = Stamp.of(path) if path else None

    @property
    def unread(self) -> int:
        """How many rows are left out since they cannot be read; 0 unless it is salvaged."""
        return 0

    @_guarded
    def begin(self, adapter: str, *question_ids: QuestionId) -> None:
        """Commit all rows so far, and the note that these questions are in flight.

        One that a process left in flight when it died counts one try more.
        """
        self._open()
        for question_id in question_ids:
            self._db.execute(_BEGIN, (adapter, stored.key(question_id)))
        self._db.execute("COMMIT")
        self._check_there()

    @_guarded
    def abandon(self, adapter: str) -> None:
        """Note that what is in flight was not asked after all, so that no try is counted."""
        self._db.execute(_ABANDON, (adapter,))

    @_guarded
    def record(self, position: int, row: Row, events: tuple[MemoryEvent, ...] = ()) -> Row:
        """Add a row, its question and its memory events; `begin` or `flush` commits them.

        `position` is the question's place in the caller's order, from 0. What comes back is
        the row that was stored: the one given, or a failure if that cannot be stored
        (`vqa_engine.runs.stored`). A row that the question had before is replaced.
        """
        key = stored.key(row.question.question_id)
        row, question, record = stored.storable(row)
        cause = row.failure.cause if row.failure else None
        self._open()
        self._db.execute(_ADD_QUESTION, (key, position, question))
        self._db.execute(_ADD_ROW, (row.adapter, key, cause, row.degraded, record))
        self._db.execute(_END, (row.adapter, key))
        self._add_events(row.adapter, events)
        return row

    @_guarded
    def flush(self) -> None:
        """Commit all that was recorded."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")
            self._check_there()

    @_guarded
    def record_events(self, adapter: str, events: tuple[MemoryEvent, ...]) -> None:
        """Commit memory events that belong to no question."""
        self._add_events(adapter, events)

    @_guarded
    def tries(self, adapter: str, question_id: QuestionId) -> int:
        """How often this question was begun without a row since, or `abandon`."""
        query = "SELECT tries FROM in_flight WHERE adapter = ? AND id = ?"
        found = self._db.execute(query, (adapter, stored.key(question_id))).fetchone()
        if found and not isinstance(found[0], int):
            what = f"The note that question {question_id!r} is in flight"
            raise self._damaged(what, TypeError("its count of tries is not a number"))
        return found[0] if found else 0

    @_guarded
    def begun(self, adapter: str) -> frozenset[Key]:
        """The keys (`vqa_engine.runs.stored.key`) of the questions in flight."""
        found = self._db.execute("SELECT id FROM in_flight WHERE adapter = ?", (adapter,))
        return frozenset(key for (key,) in found)

    @_guarded
    def tally(self, adapter: str, total: int | None = None) -> Tally:
        """The counts of one adapter; `total` is how many questions the run has, if known."""
        counts = self._db.execute(
            "SELECT cause, count(*), total(degraded = 1) FROM rows WHERE adapter = ? "
            "GROUP BY cause ORDER BY count(*) DESC, cause",
            (adapter,),
        ).fetchall()
        done = sum(count for _, count, _ in counts)
        causes = {cause: count for cause, count, _ in counts if cause is not None}
        if not all(isinstance(cause, str) for cause in causes):
            raise self._damaged("The cause of a failure", TypeError("it is not text"))
        return Tally(
            done=done,
            failed=sum(causes.values()),
            degraded=int(sum(degraded for *_, degraded in counts)),
            unasked=0 if total is None else max(0, total - done),
            causes=causes,
            places=dict(self._db.execute(_PLACES, (adapter,))),
        )

    @_guarded
    def labels(self, wanted: str | None = None) -> tuple[str, ...]:
        """The labels that have rows, sorted, or the one that is wanted.

        Raises:
            ConfigurationError: there is none of that name.
        """
        known = self._labels()
        if wanted is None:
            return known
        if wanted not in known:
            raise ConfigurationError(
                f"The run has no adapter {wanted!r}; it has: {', '.join(known)}."
            )
        return (wanted,)

    def _labels(self) -> tuple[str, ...]:
        found = [label for (label,) in self._db.execute(_LABELS)]
        if not all(isinstance(label, str) for label in found):
            raise self._damaged("The name of an adapter", TypeError("it is not text"))
        return tuple(found)

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Rows of one adapter, or of all, in the caller's question order; lazy.

        A question read back has its image's path; the image of one that had no path
        is `b""`.
        """
        return (row for _, row in self._decoded(_ROWS, (adapter, True)))

    def placed_rows(self, adapter: str, *, failed: bool) -> Iterator[tuple[int, Row]]:
        """(position, row) of one adapter, with the failed ones or without; lazy."""
        return self._decoded(_ROWS, (adapter, failed))

    def rows_after(self, adapter: str, number: int) -> Iterator[tuple[int, Row]]:
        """(number, row) of what was recorded after the row with this number; lazy.

        Numbers begin at 1 and grow; a row that replaces another has a new one. The rows come
        in the caller's question order.
        """
        return self._decoded(_ROWS_AFTER, (adapter, number))

    def events(self, adapter: str | None = None) -> Iterator[TimedEvent]:
        """Memory events in the order they happened; lazy."""
        last = 0
        for number, label, moment, record in self._select(_EVENTS, (adapter,)):
            try:
                if number <= last:  # a tree that leads back to where it was
                    raise ValueError("it comes a second time")
                last = number
                event = decoded_event(label, moment, record)
            except stored.UNREADABLE as error:
                raise self._damaged(f"A memory event of {label!r}", error) from error
            yield event

    def close(self) -> None:
        """Commit and close the file; twice is safe."""
        if not self._closed:
            self.flush()
            self._db.close()
            self._closed = True

    def _open(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def _check_there(self) -> None:
        """See that what was committed can be found: SQLite writes to a deleted file gladly."""
        if self.path is not None and not _is(self._stamp, self.path):
            what = f"{self.path} was deleted or replaced while the run was written to it"
            raise JournalError(self.path.parent, f"{what}. Put it back, or start the run again.")

    def _add_events(self, adapter: str, events: tuple[MemoryEvent, ...]) -> None:
        for event in events:
            self._db.execute(_ADD_EVENT, (adapter, time(), stored.encoded_event(event)))

    def _decoded(self, query: str, values: tuple[str | None, object]) -> Iterator[tuple[int, Row]]:
        for label, key, number, record, question in self._select(query, values):
            try:
                row = stored.decoded_row(label, key, record, question)
                place = stored.decoded_place(number)
            except stored.UNREADABLE as error:
                what = f"The row of question {key!r} of {label!r}"
                raise self._damaged(what, error) from error
            yield place, row

    def _select(self, query: str, values: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        try:
            self._patience.again()
            for row in self._db.execute(query, values):
                yield row
                self._patience.again()
        except ERRORS as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error | UnicodeError) -> JournalError:
        return explained(self.path, error, self._use)

    def _damaged(self, what: str, error: Exception) -> JournalError:
        reason = " ".join(str(error).split())
        what = f"{what} in the journal {self.path} cannot be read: {reason}"
        return unusable(self.path, what, self._use.damaged)
