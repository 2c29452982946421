"""What a worker says, read in the host: it fits what was asked, or it is nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from vqa_engine.adapter.crossing import said
from vqa_engine.results import Failure, Loaded, Released, Reply
from vqa_engine.session.protocol import WINDOW, Exchange
from vqa_engine.worker.messages import (
    Ask,
    Found,
    Left,
    Ready,
    Refused,
    Said,
    ToHost,
    decode_found,
    decode_in_host,
    decode_reply,
)

T = TypeVar("T")


class Nonsense(Exception):
    """What the worker said fits nothing that it was asked."""


def read(decode: Callable[[bytes], T], data: bytes) -> T:
    """What some bytes of a worker's say.

    Raises:
        Nonsense: they cannot be read.
    """
    try:
        return decode(data)
    except Exception as error:
        raise Nonsense(f"a message that cannot be read ({said(error)})") from error


def message(data: bytes) -> ToHost:
    """A message; raises as `read`."""
    return read(decode_in_host, data)


def loaded(reply: ToHost) -> Loaded | Refused:
    """What came of a `Load`.

    Raises, as all below:
        Nonsense: it fits nothing that was asked.
    """
    if isinstance(reply, Refused):
        return reply
    if not isinstance(reply, Ready):
        raise Nonsense(f"a {type(reply).__name__} message in reply to Load")
    if not 1 <= reply.loaded.window <= WINDOW:
        raise Nonsense(f"a window of {reply.loaded.window} questions")
    return reply.loaded


def found(kind: type[T], reply: ToHost) -> T | Refused:
    """What came of a `Look`."""
    if isinstance(reply, Refused):
        return reply
    if not isinstance(reply, Found):
        raise Nonsense(f"a {type(reply).__name__} message in reply to Look")
    return read(lambda data: decode_found(kind, data), bytes(reply.value))


def left(reply: ToHost) -> Released:
    """What came of a `Leave`."""
    if not isinstance(reply, Left):
        raise Nonsense(f"a {type(reply).__name__} message in reply to Leave")
    return reply.released


def exchanged(ask: Ask, reply: ToHost) -> Exchange:
    """What came of an `Ask`."""
    if not isinstance(reply, Said):
        raise Nonsense(f"a {type(reply).__name__} message in reply to Ask")
    if reply.turn != ask.turn:
        raise Nonsense("the reply to another question")
    count = 0 if reply.failure else reply.begun
    if not 1 <= reply.begun <= ask.limit or len(reply.replies) != count:
        raise Nonsense(f"{len(reply.replies)} replies to {reply.begun} of {ask.limit} questions")
    return Exchange(
        begun=reply.begun,
        replies=tuple(reply_in(bytes(raw)) for raw in reply.replies),
        failure=reply.failure,
        events=reply.events,
        recycle=reply.recycle,
    )


def reply_in(data: bytes) -> Reply:
    """A reply; one that does not fit its record is its own question's failure."""
    try:
        reply = decode_reply(data)
    except Exception as error:  # noqa: BLE001  the worker may say anything
        what = f"The adapter's answer does not fit its record: {said(error)}"
        return Reply(failure=Failure(cause="adapter", message=what))
    if (reply.answer is None) == (reply.failure is None):
        what = "The worker gave either no answer and no failure, or both"
        return Reply(failure=Failure(cause="adapter", message=what))
    return reply
