"""Whatever a worker says, it is that worker's fault: it is ended, and the questions go on."""

from __future__ import annotations

import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.asking import reply_to
from tests.worker import PLAN, Opener, ask, failed
from vqa_engine.adapter import Answer, MemoryProfile, MemoryReading, Transfer
from vqa_engine.errors import VqaEngineError, WorkerError
from vqa_engine.interpreter import version
from vqa_engine.results import Loaded, Released, Reply
from vqa_engine.worker import Timeouts
from vqa_engine.worker.messages import (
    PROTOCOL,
    Begun,
    Fetching,
    Hello,
    Left,
    Ready,
    Refused,
    Said,
    Vitals,
    encode_to_host,
)
from vqa_engine.worker.wire import HEADER, MAGIC

pytestmark = pytest.mark.slow

PARROT = """#!{python} -S
import os, sys
reader, writer = int(sys.argv[-3]), int(sys.argv[-2])
for name in ("hello", "load", "ask", "ask"):
    if name != "hello":
        head = os.read(reader, 8)
        left = int.from_bytes(head[4:], "big")
        while left:
            left -= len(os.read(reader, left))
    data = open({folder!r} + "/" + name, "rb").read()
    while data:
        data = data[os.write(writer, data):]
os.read(reader, 1)
"""


def framed(message: Any) -> bytes:
    data = message if isinstance(message, bytes) else encode_to_host(message)
    return HEADER.pack(MAGIC, len(data)) + data


def ready(window: int = 1) -> Ready:
    loaded = Loaded(profile=MemoryProfile(), seconds=0.0, memory=MemoryReading(), window=window)
    return Ready(loaded, Vitals())


def said(**facts: Any) -> Said:
    answer = msgspec.Raw(encode_to_host(Reply(answer=Answer("yes"))))
    return Said(**{"begun": 1, "vitals": Vitals(), "replies": (answer,), "turn": 1, **facts})


HELLO = Hello(PROTOCOL, version(), "3.11", 1)
DEEP = b"\x91" * 100_000 + b"\xc0"
HUGE = struct.pack(">BI", 0xDD, 0xFFFFFFFF)
LEFT = Left(Released(residue=0, seconds=0.0))
REFUSED = Refused(kind="RunLocked", message="no", cause="adapter", facts={})
UNSAID = msgspec.Raw(encode_to_host(Reply()))
SHAPELESS = msgspec.msgpack.encode({"type": "said", "begun": "one", "vitals": None})
BROKEN: list[Any] = [b"", b"\xc1", DEEP, HUGE, SHAPELESS, HELLO, LEFT, Begun(-1), Begun(1 << 40)]


@pytest.fixture
def parrot(tmp_path: Path) -> Callable[..., Path]:
    """Makes an interpreter whose worker says these frames, whatever it is asked."""

    def make(hello: Any = HELLO, load: Any = None, ask: bytes = b"") -> Path:
        for name, data in (
            ("hello", framed(hello)),
            ("load", framed(ready() if load is None else load)),
            ("ask", ask),
        ):
            (tmp_path / name).write_bytes(data)
        program = tmp_path / "python"
        program.write_text(PARROT.format(python=sys.executable, folder=str(tmp_path)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    return make


SHORT = Timeouts(load=20, answer=20, stop=1)


@pytest.mark.parametrize("hello", [*BROKEN[:5], ready(), LEFT])
def test_a_strange_greeting_is_an_interpreters_error(
    open_session: Opener, parrot: Callable[..., Path], hello: Any
) -> None:
    with pytest.raises(WorkerError):
        open_session("Echo", python=parrot(hello), timeouts=SHORT).load()


@pytest.mark.parametrize("load", [*BROKEN, said(), ready(0), ready(-5), ready(1 << 40), REFUSED])
def test_a_strange_reply_to_load_is_that_adapters_error(
    open_session: Opener, parrot: Callable[..., Path], load: Any
) -> None:
    with pytest.raises(WorkerError) as caught:
        open_session("Echo", python=parrot(load=load), timeouts=SHORT).load()
    assert caught.value.cause == "adapter"


@pytest.mark.parametrize(
    "reply",
    [
        *BROKEN, ready(), REFUSED, Fetching(Transfer(name="", folder="", done=0, total=0, free=0)),
        said(begun=0), said(begun=-1), said(begun=9), said(replies=()), said(turn=7),
    ],
)  # fmt: skip
def test_a_strange_reply_to_a_question_fails_it(
    open_session: Opener, parrot: Callable[..., Path], reply: Any
) -> None:
    session = open_session("Echo", python=parrot(ask=framed(reply)), timeouts=SHORT)
    session.load()
    failure = failed(reply_to(session, ask("?"), PLAN))
    assert [one.cause for one in failure.attempts] == ["adapter"] * 3
    assert session.pid is None


def test_a_reply_without_an_answer_is_a_failure(
    open_session: Opener, parrot: Callable[..., Path]
) -> None:
    session = open_session("Echo", python=parrot(ask=framed(said(replies=(UNSAID,)))))
    session.load()
    assert failed(reply_to(session, ask("?"), PLAN)).cause == "adapter"


def test_a_reply_that_comes_twice_answers_no_other_question(
    open_session: Opener, parrot: Callable[..., Path]
) -> None:
    session = open_session("Echo", python=parrot(ask=2 * framed(said())), timeouts=SHORT)
    session.load()
    assert reply_to(session, ask("one", 1), PLAN).answer
    # The second worker answers it: its own first reply is the one that it was asked for.
    second = reply_to(session, ask("two", 2), PLAN)
    assert [one.cause for one in second.attempts] == ["adapter"]


@pytest.mark.parametrize("facts", [{}, {"needed": 1}, {"model": {}, "tried": [], "detail": 5}])
@pytest.mark.parametrize("kind", ["RunError", "CheckpointError", "OutOfMemory", "PlaceLost"])
def test_an_error_without_its_facts_is_raised_all_the_same(
    open_session: Opener, parrot: Callable[..., Path], kind: str, facts: dict[str, Any]
) -> None:
    refused = Refused(kind=kind, message="no", cause="adapter", facts=facts)
    with pytest.raises(VqaEngineError, match="no"):
        open_session("Echo", python=parrot(load=refused)).load()
