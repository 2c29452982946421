"""The wire: whole messages over a pair of pipes, with deadlines.

A frame is four bytes of magic, four of length (big endian), then a msgpack message.
The magic shows at once when something else wrote to the descriptor.
"""

from __future__ import annotations

import errno
import os
import select
import struct
from time import monotonic

HEADER = struct.Struct(">4sI")
MAGIC = b"VQAE"
LARGEST = 1 << 30
"""Bytes of the largest message: the largest image that is decoded takes a fifth of it."""

_CHUNK = 1 << 16  # the capacity of a pipe on Linux


class WireClosed(Exception):
    """The other end is gone."""


class WireLost(WireClosed):
    """This end's descriptors were closed under us, by somebody in this process."""


class FrameError(Exception):
    """What came is not a frame: somebody else wrote to the wire."""


class Wire:
    """One end: `reader` and `writer` are pipe descriptors, and the wire owns them.

    Both are set non-blocking. That changes only this end, because the two ends of a
    pipe are separate descriptions.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._readable = _poll(reader, select.POLLIN)
        self._writable = _poll(writer, select.POLLOUT)

    def send(self, message: bytes, seconds: float | None = None) -> None:
        """Write one frame.

        Raises:
            ValueError: it is larger than `LARGEST`; nothing was written.
            WireClosed: nobody reads any more.
            TimeoutError: the other end did not read it within `seconds`.
        """
        if len(message) > LARGEST:
            raise ValueError(f"a message of {len(message)} bytes, and {LARGEST} are the most")
        rest = memoryview(HEADER.pack(MAGIC, len(message)) + message)
        until = None if seconds is None else monotonic() + seconds
        while rest:
            rest = rest[self._write(rest) :]
            if rest and not _wait(self._writable, until):
                raise TimeoutError("the other end does not read")

    def receive(self, seconds: float | None = None) -> bytes | None:
        """The next message, or None when none was complete within `seconds`.

        What came of a frame is kept for the next call.

        Raises:
            WireClosed: the other end closed, perhaps in the middle of a frame.
            FrameError: the bytes are no frame.
        """
        until = None if seconds is None else monotonic() + seconds
        while (message := self._whole()) is None:
            if not _wait(self._readable, until):
                return None
            self._read()
        return message

    def close(self) -> None:
        """Close both descriptors; the other end sees the end of the stream. Idempotent."""
        descriptors, self._reader, self._writer = (self._reader, self._writer), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                close(descriptor)

    def _whole(self) -> bytes | None:
        if len(self._buffer) < HEADER.size:
            return None
        magic, length = HEADER.unpack_from(self._buffer)
        if magic != MAGIC or length > LARGEST:
            raise FrameError(f"not a frame: {bytes(self._buffer[:16])!r}")
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return message

    def _read(self) -> None:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            raise _gone(error) from error
        if not data:
            raise WireClosed("the other end closed the wire")
        self._buffer += data

    def _write(self, rest: memoryview) -> int:
        try:
            return os.write(self._writer, rest)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _gone(error) from error


def close(descriptor: int) -> None:
    """Close a descriptor that may have been closed by somebody else."""
    try:
        os.close(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


def _poll(descriptor: int, events: int) -> select.poll:
    # poll, not select: select fails on descriptors from 1024 on.
    poll = select.poll()
    poll.register(descriptor, events)
    return poll


def _wait(poll: select.poll, until: float | None) -> bool:
    """Wait for an event; a closed or broken descriptor is one too, and shows in the next call."""
    left = None if until is None else max(0.0, until - monotonic()) * 1000
    return bool(poll.poll(left))


def _gone(error: OSError) -> WireClosed:
    if error.errno == errno.EBADF:
        return WireLost("this end of the wire was closed")
    return WireClosed(f"the other end is gone: {error.strerror}")
