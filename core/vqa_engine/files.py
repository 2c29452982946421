"""Reading files from outside, and writing files of ours.

Only regular files are read, looked at once they are open: opening a pipe waits for its other
end, a device may never end, and a path can come to mean something else between a look and the
opening. A file is written whole or not at all, and one that cannot be written is one error
that says what to do.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from attrs import frozen

from vqa_engine.errors import OutputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_ROOM = "Make room and run the same command again."
_OTHER = "Make it writable, or give another path."
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _OTHER),
    errno.EIO: "Its disk fails: give another path.",
    errno.ENOTDIR: "Give another path: part of this one is a file.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Allow more open files (ulimit -n)."),
}
"""What to do about an error of the system, by its number. None of them is a bug of ours."""


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


def at_home(path: str | Path) -> Path:
    """The path with `~` replaced; as it is where nobody knows that home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's raises RuntimeError


def real(path: Path) -> Path:
    """The path with every link followed; where links lead to each other, one of those."""
    return Path(os.path.realpath(path))  # `Path.resolve` raises RuntimeError there


def hub_cache() -> Path:
    """Where hub clients keep what they downloaded (huggingface_hub, "Environment variables")."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    return at_home(os.environ.get("HF_HUB_CACHE") or f"{home}/hub")


class NotRegular(OSError):
    """It is no regular file; `strerror` says what it is."""


_BUFFER = 1 << 17
"""Bytes that are read at once."""


class _AtOnce(FileIO):
    """A file that raises where reading would have to wait; Python's own gives None."""

    def readinto(self, buffer: Any) -> int:
        count: int | None = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "it has nothing to read at present")
        return count

    def readall(self) -> bytes:
        content: bytes | None = super().readall()
        if content is None:
            raise BlockingIOError(errno.EAGAIN, "it has nothing to read at present")
        return content


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened to read; links are followed.

    What a file of /proc has only later is not waited for: reading raises a BlockingIOError.

    Raises:
        NotRegular: it is a folder, a pipe, a device or a socket.
        OSError: it cannot be opened; also where the path holds what no path can.
    """
    try:
        _check(path, path.stat().st_mode)  # opening some devices has an effect
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, "its name is not one that a file can have") from error
    file: BufferedReader = BufferedReader(_AtOnce(opened), _BUFFER)
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


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn the system's errors into one that says what cannot be written, and what to do.

    Raises:
        OutputError: an `OSError` left the block.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(path, unwritable(path, error)) from error


def unwritable(path: Path | str, error: OSError) -> str:
    """The sentence for what cannot be written."""
    remedy = _REMEDIES.get(error.errno or 0, "Give another path.")
    return f"{path} cannot be written: {error.strerror or error}. {remedy}"


def surroundings(error: OSError) -> OutputError | None:
    """What an error that nobody caught says of the disk or the system; None if it may be a bug."""
    if error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):  # tempfile's
        what = f"{error.strerror}. Set TMPDIR to a folder that can be written to."
        return OutputError("TMPDIR", what)
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    what = error.filename or "A file"
    return OutputError(what, f"{what} cannot be used: {error.strerror}. {remedy}")


def replace(path: Path, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
    """Write a file whole or not at all; links are followed, a pipe or device is written into.

    What is written comes beside the file first, so that an old one is replaced whole; with
    `durable` not before it is on the disk.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        target = real(path)
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if path.exists() and not path.is_file():
            # A device or a pipe must never be replaced; /dev/stdout leads to one without a path.
            with path.open("wb") as stream:
                stream.writelines(pieces)
            return
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as stream:
                stream.writelines(pieces)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for of, name in _KINDS if of(mode)), "something else")
        raise NotRegular(errno.EINVAL, f"it is {kind}, not a regular file", str(path))
