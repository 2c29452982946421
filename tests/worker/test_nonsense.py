"""Whatever a worker says, it is that worker's fault: it is ended, and the questions go on."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.asking import reply_to
from tests.worker import PLAN, Opener, ask, failed
from tests.worker.parrot import HELLO, LEFT, REFUSED, framed, parrot, ready, said
from vqa_engine.adapter import Transfer
from vqa_engine.errors import VqaEngineError, WorkerError
from vqa_engine.results import Reply
from vqa_engine.worker import Timeouts
from vqa_engine.worker.messages import Begun, Fetching, Refused, encode_to_host

pytestmark = pytest.mark.slow

DEEP = b"\x91" * 100_000 + b"\xc0"
HUGE = struct.pack(">BI", 0xDD, 0xFFFFFFFF)
UNSAID = msgspec.Raw(encode_to_host(Reply()))
SHAPELESS = msgspec.msgpack.encode({"type": "said", "begun": "one", "vitals": None})
BROKEN: list[Any] = [b"", b"\xc1", DEEP, HUGE, SHAPELESS, HELLO, LEFT, Begun(-1), Begun(1 << 40)]


Make = Callable[..., Path]


@pytest.fixture
def speaking(tmp_path: Path) -> Make:
    """Makes an interpreter whose worker says this to a greeting, a load and each question."""

    def make(hello: Any = HELLO, load: Any = None, ask: bytes = b"") -> Path:
        first, second = framed(hello), framed(ready() if load is None else load)
        return parrot(tmp_path, [first, second, ask, ask])

    return make


SHORT = Timeouts(load=20, answer=20, stop=1)


@pytest.mark.parametrize("hello", [*BROKEN[:5], ready(), LEFT])
def test_a_strange_greeting_is_an_interpreters_error(
    open_session: Opener, speaking: Make, hello: Any
) -> None:
    with pytest.raises(WorkerError):
        open_session("Echo", python=speaking(hello), timeouts=SHORT).load()


@pytest.mark.parametrize("load", [*BROKEN, said(), ready(0), ready(-5), ready(1 << 40), REFUSED])
def test_a_strange_reply_to_load_is_that_adapters_error(
    open_session: Opener, speaking: Make, load: Any
) -> None:
    with pytest.raises(WorkerError) as caught:
        open_session("Echo", python=speaking(load=load), timeouts=SHORT).load()
    assert caught.value.cause == "adapter"


@pytest.mark.parametrize(
    "reply",
    [
        *BROKEN, ready(), REFUSED, Fetching(Transfer(name="", folder="", done=0, total=0, free=0)),
        said(begun=0), said(begun=-1), said(begun=9), said(replies=()), said(turn=7),
    ],
)  # fmt: skip
def test_a_strange_reply_to_a_question_fails_it(
    open_session: Opener, speaking: Make, reply: Any
) -> None:
    session = open_session("Echo", python=speaking(ask=framed(reply)), timeouts=SHORT)
    session.load()
    failure = failed(reply_to(session, ask("?"), PLAN))
    assert [one.cause for one in failure.attempts] == ["adapter"] * 3
    assert session.pid is None


def test_a_reply_without_an_answer_is_a_failure(open_session: Opener, speaking: Make) -> None:
    session = open_session("Echo", python=speaking(ask=framed(said(replies=(UNSAID,)))))
    session.load()
    assert failed(reply_to(session, ask("?"), PLAN)).cause == "adapter"


def test_a_reply_that_comes_twice_answers_no_other_question(
    open_session: Opener, speaking: Make
) -> None:
    session = open_session("Echo", python=speaking(ask=2 * framed(said())), timeouts=SHORT)
    session.load()
    assert reply_to(session, ask("one", 1), PLAN).answer
    # The second worker answers it: its own first reply is the one that it was asked for.
    second = reply_to(session, ask("two", 2), PLAN)
    assert [one.cause for one in second.attempts] == ["adapter"]


@pytest.mark.parametrize("facts", [{}, {"needed": 1}, {"model": {}, "tried": [], "detail": 5}])
@pytest.mark.parametrize("kind", ["RunError", "CheckpointError", "OutOfMemory", "PlaceLost"])
def test_an_error_without_its_facts_is_raised_all_the_same(
    open_session: Opener, speaking: Make, kind: str, facts: dict[str, Any]
) -> None:
    refused = Refused(kind=kind, message="no", cause="adapter", facts=facts)
    with pytest.raises(VqaEngineError, match="no"):
        open_session("Echo", python=speaking(load=refused)).load()
