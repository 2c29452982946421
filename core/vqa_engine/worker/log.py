"""What a worker prints: one file for each adapter, appended to at each start."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

_TAIL = 16_384
"""Bytes of a log's end that are read after a death."""

LARGEST = 64 << 20
"""Bytes. An adapter that prints megabytes for each of 200,000 questions fills no disk."""


class WorkerLog:
    """A worker's standard output and error.

    It is `<directory>/<label>.log`, or without a directory a temporary file that goes
    when it is closed.

    Raises:
        OSError: the file cannot be opened for appending.
    """

    def __init__(self, directory: Path | None, label: str) -> None:
        self._path = None if directory is None else directory / f"{_file_name(label)}.log"
        self._file = _nameless() if self._path is None else _appended(self._path)
        self._earlier: FileIO | None = None

    @property
    def descriptor(self) -> int:
        """For the worker to inherit."""
        return self._file.fileno()

    def header(self, text: str) -> None:
        """One line for a start: when, and what was started."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"=== {now} {text}\n".encode(errors="replace"))

    @property
    def unknown(self) -> Path | None:
        """The file that a worker has to be told of, for it prints into an earlier log yet."""
        return self._path.absolute() if self._path and self._earlier else None

    def succeed(self, other: WorkerLog) -> None:
        """Hold what is printed into another, nameless one, which belongs to this one now."""
        if self._path is None:
            self._file.close()
            self._file = other._file
        else:
            self._earlier = other._file

    def mark(self) -> int:
        """Where the next output will stand; a log that has grown too large is emptied."""
        size = self._size()
        if size <= LARGEST:
            return size
        os.ftruncate(self.descriptor, 0)
        self.header(f"{size} bytes of earlier output were removed")
        return self._size()

    def tail(self, since: int) -> str:
        """The end of what a worker that ended printed since a mark, at most `_TAIL` bytes."""
        self.catch_up()
        end = self._size()
        start = max(since, end - _TAIL)
        return os.pread(self.descriptor, end - start, start).decode(errors="replace")

    def close(self) -> None:
        """Idempotent."""
        self.catch_up()
        self._file.close()

    def catch_up(self) -> None:
        """Copy what was printed into the earlier log; by now its worker knows this one."""
        earlier, self._earlier = self._earlier, None
        if earlier is not None:
            self._file.write(os.pread(earlier.fileno(), LARGEST, 0))
            earlier.close()

    def _size(self) -> int:
        return os.fstat(self.descriptor).st_size


def _nameless() -> FileIO:
    return tempfile.TemporaryFile("a+b", buffering=0)


def _appended(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b", buffering=0)


def _file_name(label: str) -> str:
    return re.sub(r"[^\w.-]", "_", label).lstrip(".") or "worker"
