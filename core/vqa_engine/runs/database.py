"""A journal's file: how it is created, opened to write or to read, and what errors say."""

from __future__ import annotations

import shutil
import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from attrs import frozen

from vqa_engine.errors import JournalError

_FORMAT = 3
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
PRAGMA user_version = {_FORMAT};
COMMIT;
"""
_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 8000;
"""


ERRORS = (sqlite3.Error, UnicodeError)
"""What sqlite3 raises; the second where SQLite's own message quotes bytes of a damaged file."""

PATIENCE = 60.0
"""Seconds that SQLite may look for one row: a damaged or hostile file can send it in circles."""

LARGEST = 64 << 20
"""Bytes of one record."""


@frozen(kw_only=True)
class Use:
    """What a run is opened for: what to do where it is damaged, not ours, or may not be opened."""

    damaged: str
    foreign: str
    shut: str


_ANOTHER = "Use --fresh, or give another --output."

WRITING = Use(
    damaged=f"{_ANOTHER} Commands that read runs leave out what is damaged with --salvage.",
    foreign=_ANOTHER,
    shut="Make the directory writable, or give another --output.",
)
READING = Use(
    damaged="With --salvage, what cannot be read is left out.",
    foreign="Restore it from a copy, or use the version that wrote it.",
    shut="Make it readable.",
)
SALVAGING = Use(
    damaged="Restore it from a copy.",
    foreign=READING.foreign,
    shut=READING.shut,
)

_STEPS = 1_000_000
"""SQLite's instructions between two looks at the clock, some 10 ms."""


class Patience:
    """Interrupts a query that finds nothing for `PATIENCE` seconds; `again` starts them over."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._until = 0.0
        self.again()
        db.set_progress_handler(self.is_over, _STEPS)

    def again(self) -> None:
        """A row was found, or a query begins."""
        self._until = monotonic() + PATIENCE

    def is_over(self) -> bool:
        """Whether they have passed."""
        return monotonic() > self._until


def opened(path: Path | None) -> sqlite3.Connection:
    """A connection to write; an empty file becomes a journal in one transaction."""
    return _checked(path, sqlite3.connect(path or "", isolation_level=None), write=True)


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    SQLite makes a -shm and a -wal file for whoever reads in WAL mode, unless it is assured
    that the file does not change (https://sqlite.org/wal.html#read_only_databases). All that
    was written is in the file itself when there is no -wal, or nothing in it.
    """
    log = path.with_name(f"{path.name}-wal")
    settled = not log.exists() or log.stat().st_size == 0
    try:
        return _connected(path, "&immutable=1" if settled else "")
    except sqlite3.OperationalError:
        if settled:
            raise
    return _copied(path, log)  # it was not closed, and the folder cannot be written to


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """A connection to a private copy, which ends with it: the files are open, and have no name."""
    with TemporaryDirectory(prefix="vqa-engine-") as folder:
        copy = Path(folder, path.name)
        try:
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(log.name))
        except OSError as error:
            what = f"{path} cannot be copied to be read: {error.strerror}"
            raise unusable(
                path, what, "Make room, or set TMPDIR to a folder on another disk."
            ) from error
        return _connected(copy)


def _connected(path: Path, how: str = "") -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro{how}"
    return _checked(path, sqlite3.connect(uri, uri=True, isolation_level=None), write=False)


def _checked(path: Path | None, db: sqlite3.Connection, *, write: bool) -> sqlite3.Connection:
    """The connection, closed if the file is no journal."""
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        db.text_factory = _text
        if not _schema(db) and _mark(db) == (0, 0):
            if not write:  # its run begins at this moment
                db.close()
                return opened(None)
            db.executescript(_SETTINGS + _SCHEMA)
        _check_format(path, db, WRITING if write else READING)
        if write:
            db.executescript(_SETTINGS)
    except BaseException:
        db.close()
        raise
    return db


def _text(stored: bytes) -> str:
    """Text as it is, with escapes for what is not UTF-8."""
    return stored.decode("utf-8", "backslashreplace")


def _check_format(path: Path | None, db: sqlite3.Connection, use: Use) -> None:
    """See that the file has our tables and nothing else: a view or a trigger would run."""
    if _mark(db) != (_APPLICATION, _FORMAT):
        what = f"The journal {path} was not written by this version of vqa-engine"
        raise unusable(path, what, use.foreign)
    if _schema(db) != _own_schema():
        what = f"The journal {path} has tables, views or triggers that are not ours"
        raise unusable(path, what, use.foreign)


@cache
def _own_schema() -> frozenset[tuple[object, ...]]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.executescript(_SCHEMA)
        return _schema(db)
    finally:
        db.close()


def _schema(db: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    """What the database is made of, with its SQL on one line."""
    parts = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT 100")
    return frozenset((*names, " ".join(str(sql).split())) for *names, sql in parts)


def _mark(db: sqlite3.Connection) -> tuple[int, ...]:
    """Whose the file is, and its format; zeros in one that nobody has marked."""
    pragmas = ("application_id", "user_version")
    return tuple(int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in pragmas)


def unusable(path: Path | None, what: str, remedy: str) -> JournalError:
    """The error for a journal of which nothing, or not all, can be used."""
    return JournalError(path.parent if path else Path(), f"{what}. {remedy}")


def explained(path: Path | None, error: sqlite3.Error | UnicodeError, use: Use) -> JournalError:
    """SQLite's error as one that says what to do."""
    remedies = {
        "full": "Free some space and run the same command again: it continues.",
        "disk I/O": "Its disk is full or fails: make room and run the same command again.",
        "readonly": use.shut,
        "unable to open": use.shut,
        "not a database": f"It is not a journal of vqa-engine. {use.foreign}",
        "malformed": f"It is damaged. {use.damaged}",
        "interrupted": f"Nothing was found in it for {PATIENCE:.0f} s. {use.damaged}",
        "too big": f"A record has more than {LARGEST >> 20} MiB. {use.damaged}",
    }
    text = "malformed schema" if isinstance(error, UnicodeError) else str(error)
    remedy = next((say for part, say in remedies.items() if part in text), "")
    what = f"The journal {path} cannot be used: {text}. Rows committed before are safe. {remedy}"
    return JournalError(path.parent if path else Path(), what.rstrip())
