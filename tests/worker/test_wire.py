"""Frames: whole, cut, garbled, and on a wire that somebody closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from vqa_engine.worker.wire import HEADER, LARGEST, MAGIC, FrameError, Wire, WireClosed, WireLost

Ends = tuple[Wire, Wire]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two wires, each other's other end."""
    there, here = os.pipe(), os.pipe()
    one, other = Wire(there[0], here[1]), Wire(here[0], there[1])
    yield one, other
    one.close()
    other.close()


def frame(message: bytes) -> bytes:
    return HEADER.pack(MAGIC, len(message)) + message


@pytest.mark.parametrize("message", [b"", b"x", b"m" * 70_000, b"l" * (3 << 20)])
def test_a_message_arrives_whole(ends: Ends, message: bytes) -> None:
    one, other = ends
    sender = threading.Thread(target=one.send, args=(message, 10))
    sender.start()
    assert other.receive(10) == message
    sender.join()


def test_messages_keep_their_order(ends: Ends) -> None:
    one, other = ends
    for number in range(50):
        one.send(b"%d" % number)
    assert [other.receive(1) for _ in range(50)] == [b"%d" % number for number in range(50)]


def test_a_frame_in_pieces_is_one_message(ends: Ends) -> None:
    one, other = ends
    for byte in frame(b"slow"):
        assert other.receive(0) is None
        os.write(one._writer, bytes([byte]))
    assert other.receive(1) == b"slow"


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_frame_cut_short_is_the_end_of_the_wire(ends: Ends, cut: int) -> None:
    one, other = ends
    os.write(one._writer, frame(b"abcd")[:cut])
    one.close()
    with pytest.raises(WireClosed):
        other.receive(5)


@pytest.mark.parametrize(
    "rubbish", [b"rubbish!", HEADER.pack(MAGIC, LARGEST + 1), b"\0" * 8, frame(b"")[::-1]]
)
def test_rubbish_is_an_error_at_once(ends: Ends, rubbish: bytes) -> None:
    one, other = ends
    os.write(one._writer, rubbish)
    with pytest.raises(FrameError):
        other.receive(5)


def test_nobody_reading_is_a_timeout(ends: Ends) -> None:
    with pytest.raises(TimeoutError):
        ends[0].send(b"x" * (1 << 20), 0.05)


def test_a_message_that_is_too_large_is_not_begun(ends: Ends) -> None:
    one, other = ends
    with pytest.raises(ValueError, match="are the most"):
        one.send(bytes(LARGEST + 1))
    assert other.receive(0) is None


def test_nobody_there_is_the_end(ends: Ends) -> None:
    ends[1].close()
    with pytest.raises(WireClosed):
        ends[0].send(b"x")


@pytest.mark.parametrize("act", [lambda wire: wire.send(b"x"), lambda wire: wire.receive(1)])
def test_a_wire_closed_under_us_is_told_apart(ends: Ends, act: Callable[[Wire], object]) -> None:
    one, _ = ends
    os.close(one._reader)
    os.close(one._writer)
    with pytest.raises(WireLost):
        act(one)


def test_closing_twice_is_safe(ends: Ends) -> None:
    ends[0].close()
    ends[0].close()
