"""Files from outside: regular ones only, looked at once they are open and before they are read.

Opening a pipe waits for its other end, a device may never end, and a path can come to mean
something else between a look and the opening.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from attrs import frozen

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@frozen
class Stamp:
    """Which file it is, and its state: another one after whatever was written to it."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, file: int | Path) -> Stamp:
        """The stamp of a path or of an open descriptor.

        Raises:
            OSError: it is not there.
        """
        found = os.stat(file)  # noqa: PTH116  a descriptor has no path
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class NotRegular(OSError):
    """It is no regular file; `strerror` says what it is."""


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened to read; links are followed.

    Raises:
        NotRegular: it is a folder, a pipe, a device or a socket.
        OSError: it cannot be opened; also where the path holds what no path can.
    """
    try:
        _check(path, path.stat().st_mode)  # opening some devices has an effect
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, "its name is not one that a file can have") from error
    file = open(opened, "rb")  # noqa: PTH123, SIM115  there is no path to a descriptor
    try:
        _check(path, os.fstat(opened).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int) -> bytes:
    """What a regular file holds.

    Raises:
        OSError: as `open_regular`; also where it has more than `most` bytes.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than the {most:,} bytes that are read")
    return content


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for of, name in _KINDS if of(mode)), "something else")
        raise NotRegular(errno.EINVAL, f"it is {kind}, not a regular file", str(path))
