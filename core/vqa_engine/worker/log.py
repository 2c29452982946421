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
        self.path = None if directory is None else directory / f"{_file_name(label)}.log"
        self._file = _nameless() if self.path is None else _appended(self.path)
        self._earlier: FileIO | None = None
        self._copied = 0

    @property
    def descriptor(self) -> int:
        """For the worker to inherit."""
        return self._file.fileno()

    def header(self, text: str) -> None:
        """One line for a start: when, and what was started."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"=== {now} {text}\n".encode(errors="replace"))

    def succeed(self, other: WorkerLog) -> None:
        """Hold what is printed into another, nameless one, which belongs to this one now."""
        if self.path is None:
            self._file.close()
            self._file = other._file
        else:
            self._earlier = other._file

    def mark(self) -> int:
        """Where the next output will stand; a log that has grown too large is emptied."""
        self._catch_up()
        size = self._size()
        if size <= LARGEST:
            return size
        os.ftruncate(self.descriptor, 0)
        self.header(f"{size} bytes of earlier output were removed")
        return self._size()

    def tail(self, since: int) -> str:
        """The end of what was printed since a mark, at most `_TAIL` bytes."""
        self._catch_up()
        end = self._size()
        start = max(since, end - _TAIL)
        return os.pread(self.descriptor, end - start, start).decode(errors="replace")

    def close(self) -> None:
        """Idempotent."""
        if self._earlier is not None:
            self._catch_up()
            self._earlier.close()
            self._earlier = None
        self._file.close()

    def _catch_up(self) -> None:
        """Copy what a worker that was started ahead printed before it knew this log."""
        if self._earlier is not None:
            printed = os.pread(self._earlier.fileno(), LARGEST, self._copied)
            self._file.write(printed)
            self._copied += len(printed)

    def _size(self) -> int:
        return os.fstat(self.descriptor).st_size


def _nameless() -> FileIO:
    return tempfile.TemporaryFile("a+b", buffering=0)


def _appended(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b", buffering=0)


def _file_name(label: str) -> str:
    return re.sub(r"[^\w.-]", "_", label).lstrip(".") or "worker"
