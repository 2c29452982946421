"""Standard input, output and error, whatever the shell made of them.

Standard output is the product: what cannot be written ends the command with a sentence, and a
reader that left ends it in silence. Standard error is a courtesy: no command ends for it.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Unwritten(Exception):
    """Standard output cannot be written; the text says why, and what to do."""


class ReaderGone(Exception):
    """Whoever read our standard output (`| head`) has left, which is his right."""


def prepare() -> None:
    """Make the three standard streams usable; one that was closed becomes the null device.

    Else the next file that is opened, such as a journal, would get its number, and with it all
    that is printed.
    """
    for number in range(3):
        _open(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _writer(_Output(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _writer(_Errors(2, "wb", closefd=False), sys.stderr)


def _open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number


def _writer(raw: _Stream, old: TextIO | None) -> TextIO:
    """A text stream in the encoding of `old`; a character that it lacks becomes "?"."""
    encoding = old.encoding if old else "utf-8"
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors="replace", line_buffering=True)


class _Stream(io.FileIO):
    """A standard stream."""

    _dropped = False

    def write(self, data: ReadableBuffer, /) -> int:
        """As `FileIO.write`; a stream that does not block is waited for."""
        if self._dropped:  # pytest, in `check`, puts the number's old file back
            return len(memoryview(data))
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self._drop()
            return self._failed(error, len(memoryview(data)))
        return written

    def _failed(self, error: OSError, size: int) -> int:
        raise NotImplementedError

    def _drop(self) -> None:
        """Send the rest nowhere, so that what is buffered fails no second time."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        self._dropped = True


class _Output(_Stream):
    def _failed(self, error: OSError, size: int) -> int:
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from error
        from vqa_engine.files import unwritable  # brings the engine, which --help does without

        raise Unwritten(unwritable("Standard output", error)) from error


class _Errors(_Stream):
    def _failed(self, error: OSError, size: int) -> int:
        return size
