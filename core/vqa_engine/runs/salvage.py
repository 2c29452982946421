"""What can still be read of a damaged journal: row by row, so that damage costs only its own."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from vqa_engine.errors import JournalError
from vqa_engine.results import Row
from vqa_engine.runs import stored
from vqa_engine.runs.database import ERRORS, SALVAGING
from vqa_engine.runs.journal import Journal, Tally, TimedEvent, decoded_event
from vqa_engine.runs.stored import Key

_ROW = """
SELECT rows.adapter, id, position, rows.record, questions.record
FROM rows LEFT JOIN questions USING (id) WHERE rows.rowid = ?
"""
_EVENT = "SELECT adapter, time, record FROM events WHERE rowid = ?"

_LAST = 1 << 62
"""No row has a number above; SQLite counts them from 1."""

_CAREFUL = 10_000
"""Numbers tried one by one beyond a damaged page, which holds no more rows than this."""


@frozen
class _Found:
    """A row that can be read, with its number and its place in the caller's order."""

    number: int
    place: int
    row: Row


class SalvagedJournal(Journal):
    """A journal that is read without the rows and events that cannot be read.

    Raises:
        JournalError: nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, use=SALVAGING)

    @property
    def unread(self) -> int:
        """How many rows are left out."""
        return self._unread

    @cached_property
    def _unread(self) -> int:
        return sum(self._found(number) is None for number in self._numbers("rows"))

    def tally(self, adapter: str, total: int | None = None) -> Tally:
        """The counts of the rows that can be read; the others count as not asked."""
        rows = list(map(_counted, self.rows(adapter)))
        causes = Counter(cause for cause, *_ in rows if cause)
        places = Counter(place for *_, place in rows if place)
        return Tally(
            done=len(rows),
            failed=causes.total(),
            degraded=sum(degraded for _, degraded, _ in rows),
            unasked=max(0, (total or 0) - len(rows)),
            causes=dict(sorted(causes.items(), key=lambda one: (-one[1], one[0]))),
            places=dict(sorted(places.items())),
        )

    def begun(self, adapter: str) -> frozenset[Key]:
        """The keys of the questions in flight; none where that cannot be read."""
        try:
            return super().begun(adapter)
        except JournalError:
            return frozenset()

    def _labels(self) -> tuple[str, ...]:
        return tuple(sorted({row.adapter for row in self.rows()}))

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Those that can be read, in the caller's question order; lazy."""
        return (found.row for found in self._placed(adapter))

    def placed_rows(self, adapter: str, *, failed: bool) -> Iterator[tuple[int, Row]]:
        """(position, row) of one adapter; lazy."""
        for found in self._placed(adapter):
            if failed or found.row.failure is None:
                yield found.place, found.row

    def rows_after(self, adapter: str, number: int) -> Iterator[tuple[int, Row]]:
        """(number, row) of what was recorded after the row with this number; lazy."""
        return ((found.number, found.row) for found in self._placed(adapter, number))

    def events(self, adapter: str | None = None) -> Iterator[TimedEvent]:
        """Those that can be read, in the order they happened; lazy."""
        for number in self._numbers("events"):
            try:
                event = decoded_event(*self._one(_EVENT, number))
            except stored.UNREADABLE:
                continue
            if adapter in {None, event.adapter}:
                yield event

    def _placed(self, adapter: str | None, after: int = 0) -> Iterator[_Found]:
        """By adapter and place; each row is read twice, so that one is held at a time."""
        numbers = self._numbers("rows", after)
        order = sorted(
            (found.row.adapter, found.place, number)
            for number in numbers
            if (found := self._found(number)) and adapter in {None, found.row.adapter}
        )
        return (found for *_, number in order if (found := self._found(number)))

    def _found(self, number: int) -> _Found | None:
        try:
            label, key, position, record, question = self._one(_ROW, number)
            row = stored.decoded_row(label, key, record, question)
            return _Found(number, stored.decoded_place(position), row)
        except stored.UNREADABLE:
            return None

    def _one(self, query: str, number: int) -> tuple[Any, ...]:
        try:
            self._patience.again()
            found: tuple[Any, ...] | None = self._db.execute(query, (number,)).fetchone()
        except ERRORS as error:
            raise ValueError("it cannot be read") from error
        return found or ()

    def _numbers(self, table: str, last: int = 0) -> Iterator[int]:
        query, step = f"SELECT rowid FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid", 1
        self._patience.again()
        while last < _LAST and not self._patience.is_over():
            try:
                for (number,) in self._db.execute(query, (last,)):
                    if number <= last:  # a tree that leads back to where it was
                        raise sqlite3.DatabaseError("malformed")
                    last, step = number, 1
                    yield last
                    self._patience.again()
                return
            except ERRORS:
                last, step = last + max(1, step // _CAREFUL), step + 1 + step // _CAREFUL


def _counted(row: Row) -> tuple[str | None, bool, str]:
    return row.failure.cause if row.failure else None, row.degraded, row.place
