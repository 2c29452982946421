"""A journal's file: how it is created, opened to write or to read, and what errors say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vqa_engine.errors import JournalError

FORMAT = 3
"""SQLite's `user_version` of a journal. Format 1 had none."""

_APPLICATION = int.from_bytes(b"VQAE")
"""SQLite's `application_id` of a journal (https://sqlite.org/fileformat2.html#application_id)."""

# The id columns have no type, so that SQLite keeps 1 and "1" apart, as two questions. The rowid
# of `rows` only ever grows, so whoever follows a run reads no row twice.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE questions (id PRIMARY KEY, position INTEGER, record BLOB) WITHOUT ROWID;
CREATE TABLE rows (
    adapter TEXT, id, cause TEXT, degraded INTEGER, record BLOB, PRIMARY KEY (adapter, id)
);
CREATE TABLE in_flight (
    adapter TEXT, id, tries INTEGER, PRIMARY KEY (adapter, id)
) WITHOUT ROWID;
CREATE TABLE events (adapter TEXT, time REAL, record BLOB);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 8000;
"""


def opened(path: Path | None) -> sqlite3.Connection:
    """A connection to write; an empty file becomes a journal in one transaction."""
    db = sqlite3.connect(path or "", isolation_level=None)
    try:
        if _first(db, "SELECT count(*) FROM sqlite_schema") == 0:
            db.executescript(_SETTINGS + _SCHEMA)
        _check_format(path, db)
        db.executescript(_SETTINGS)
    except BaseException:
        db.close()
        raise
    return db


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    SQLite makes a -shm and a -wal file for whoever reads in WAL mode, unless it is assured
    that the file does not change (https://sqlite.org/wal.html#read_only_databases). All that
    was written is in the file itself when there is no -wal, or nothing in it.
    """
    log = path.with_name(f"{path.name}-wal")
    settled = not log.exists() or log.stat().st_size == 0
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if settled else ''}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        _check_format(path, db)
    except BaseException:
        db.close()
        raise
    return db


def _check_format(path: Path | None, db: sqlite3.Connection) -> None:
    found = _first(db, "PRAGMA application_id"), _first(db, "PRAGMA user_version")
    if found != (_APPLICATION, FORMAT):
        raise unusable(path, f"The journal {path} was not written by this version of vqa-engine")


def _first(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def unusable(path: Path | None, what: str) -> JournalError:
    """The error for a journal of which nothing, or not all, can be used."""
    directory = path.parent if path else Path()
    return JournalError(directory, f"{what}. Use --fresh, or give another --output.")


def explained(path: Path | None, error: sqlite3.Error) -> JournalError:
    """SQLite's error as one that says what to do."""
    directory = path.parent if path else Path()
    remedies = {
        "full": "Free some space and run the same command again: it continues.",
        "readonly": "Make the directory writable, or give another --output.",
        "unable to open": "Make the directory writable, or give another --output.",
        "not a database": "It is not a journal of vqa-engine: give another --output.",
        "malformed": "It is damaged: use --fresh, or give another --output.",
    }
    text = str(error)
    remedy = next((say for part, say in remedies.items() if part in text), "")
    what = f"The journal {path} cannot be used: {text}. Rows committed before are safe. {remedy}"
    return JournalError(directory, what.rstrip())
