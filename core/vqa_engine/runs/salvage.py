"""What can still be read of a damaged journal: row by row, so that damage costs only its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from vqa_engine.runs.database import ERRORS, Patience

_ROW = """
SELECT rows.adapter, id, position, rows.record, questions.record
FROM rows LEFT JOIN questions USING (id) WHERE rows.rowid = ?
"""
_NUMBERS = "SELECT rowid FROM rows NOT INDEXED WHERE rowid > ? ORDER BY rowid"

_LAST = 1 << 62
"""No row has a number above; SQLite counts them from 1."""

_CAREFUL = 10_000
"""Numbers tried one by one beyond a damaged page, which holds no more rows than this."""


def salvaged(
    db: sqlite3.Connection, patience: Patience, adapter: str | None
) -> Iterator[tuple[Any, ...] | None]:
    """The columns of each row of one adapter, or of all, by adapter and place; lazy.

    A row that is there and cannot be read is None.
    """
    order = []
    for number in _numbers(db, patience):
        row = _one(db, patience, number)
        if row is None or not isinstance(row[2], int):
            yield None
        elif adapter is None or row[0] == adapter:
            order.append((str(row[0]), row[2], number))
    for *_, number in sorted(order):
        yield _one(db, patience, number)


def _numbers(db: sqlite3.Connection, patience: Patience) -> Iterator[int]:
    last, step = 0, 1
    while last < _LAST:
        try:
            patience.again()
            for (number,) in db.execute(_NUMBERS, (last,)):
                patience.again()
                last, step = int(number), 1
                yield last
            return
        except ERRORS:
            last, step = last + max(1, step // _CAREFUL), step + 1 + step // _CAREFUL


def _one(db: sqlite3.Connection, patience: Patience, number: int) -> tuple[Any, ...] | None:
    try:
        patience.again()
        found: tuple[Any, ...] | None = db.execute(_ROW, (number,)).fetchone()
    except ERRORS:
        return None
    return found
