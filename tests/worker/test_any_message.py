"""Hypothesis plays the worker: whatever it says is an answer, or that worker's fault."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from tests.worker import PLAN
from tests.worker.parrot import HELLO, LEFT, REFUSED, framed, ready, said
from tests.worker.test_nonsense import HUGE
from vqa_engine.crew.place import Terms
from vqa_engine.crew.ray_session import RaySession
from vqa_engine.errors import VqaEngineError
from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import Timeouts, process, replies
from vqa_engine.worker.group import Ends
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.looking import Sight
from vqa_engine.worker.messages import Ask, Leave, Load, Refused, encode_to_host
from vqa_engine.worker.process import Worker, WorkerDied
from vqa_engine.worker.reraise import raised_again
from vqa_engine.worker.wire import MAGIC, Wire

pytestmark = pytest.mark.slow

ASK = Ask(order=(1,), new=(), limit=1, plan=PLAN, turn=1)
SHORT = Timeouts(load=0.05, answer=0.05, stop=0.01)
VALID = [encode_to_host(one) for one in (HELLO, ready(), said(), LEFT, REFUSED)]
TAGS = ("hello", "ready", "found", "begun", "fetching", "said", "left", "refused", "load")
FIELDS = (
    *("begun", "replies", "vitals", "turn", "loaded", "released", "value", "notes", "failure"),
    *("kind", "message", "cause", "facts", "count", "transfer", "protocol", "version", "extra"),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=5,
)
shaped = st.builds(
    lambda tag, fields: msgspec.msgpack.encode({"type": tag, **fields}),
    st.sampled_from(TAGS),
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=6),
)


@st.composite
def spoiled(draw: Callable[..., Any]) -> bytes:
    """A message that would do, with fields of another kind, or with some bytes changed."""
    data = bytearray(draw(st.sampled_from(VALID)))
    if draw(st.booleans()):
        fields = {**msgspec.msgpack.decode(bytes(data)), **draw(st.dictionaries(
            st.sampled_from(FIELDS), values, min_size=1, max_size=2))}  # fmt: skip
        return msgspec.msgpack.encode(fields)
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
        data[place] = draw(st.integers(0, 255))
    return bytes(data)


messages = st.one_of(
    st.binary(max_size=40), shaped, spoiled(), st.sampled_from(VALID), st.just(HUGE)
)
streams = st.lists(
    messages.map(framed) | st.binary(max_size=20) | st.just(MAGIC + b"\xff" * 4), max_size=3
).map(b"".join)

READERS: list[tuple[Any, Callable[..., object]]] = [
    (Load("x", "x", None, None), replies.loaded),  # type: ignore[arg-type]  # nobody reads it
    (Load("x", "x", None, None), partial(replies.found, Sight)),  # type: ignore[arg-type]
    (ASK, partial(replies.exchanged, ASK)),
    (Leave(), replies.left),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerLog]:
    opened = WorkerLog(None, "x")
    yield opened
    opened.close()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=streams, reader=st.sampled_from(READERS))
def test_it_is_an_answer_or_the_worker_dies_of_it(
    log: WorkerLog,
    monkeypatch: pytest.MonkeyPatch,
    stream: bytes,
    reader: tuple[Any, Callable[..., object]],
) -> None:
    monkeypatch.setattr(process, "spawn", partial(_saying, stream))
    worker = Worker(Interpreter.of("x"), log, SHORT, Event())
    message, read = reader
    try:
        with suppress(WorkerDied):
            worker.exchange(message, 0.05, read)
    finally:
        assert worker.end()


def _saying(stream: bytes, *_: object) -> Any:
    """A process that says nothing, on a wire that has this on it already."""
    reader, writer = os.pipe()
    spare, ours = os.pipe()
    unread, theirs = os.pipe()
    os.write(writer, stream)
    for end in (writer, unread):
        os.close(end)
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True, stdin=spare)
    os.close(spare)
    return Ends(sleeper, Wire(reader, ours), theirs, "nobody")


@settings(max_examples=150)
@given(st.sampled_from(["", "RunError", "CheckpointError", "OutOfMemory", "ImageError"]), values)
def test_any_refusal_is_an_error_of_ours(kind: str, facts: Any) -> None:
    given_facts = facts if isinstance(facts, dict) else {"detail": facts}
    error = raised_again(Refused(kind, "no", "adapter", given_facts), "x")
    assert isinstance(error, VqaEngineError)
    assert "no" in str(error)


@settings(max_examples=150)
@given(st.binary(max_size=30) | st.builds(msgspec.msgpack.encode, values) | st.builds(
    lambda places, refused: msgspec.msgpack.encode({"replies": places, "refused": refused}),
    st.lists(st.tuples(st.integers(-3, 5), st.binary(max_size=8)), max_size=3),
    st.binary(max_size=8) | st.sampled_from(VALID),
))  # fmt: skip
def test_whatever_a_place_in_a_cluster_says(data: bytes) -> None:
    session = RaySession(FakeRay(data), "site", {}, 1.0, Terms(spec=AdapterSpec(name="x")))
    for call in (session.load, lambda: session.ask([a_question()], PLAN)):
        with suppress(VqaEngineError):
            assert call()
    assert session.release().residue is None


class FakeRay:
    """A cluster whose actors give the same bytes for whatever they are asked."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.exceptions = ray_exceptions

    def __getattr__(self, name: str) -> Any:
        return self  # `remote`, `options`, and every method of an actor

    def __call__(self, *_arguments: object, **_options: object) -> Any:
        return self

    def wait(self, references: list[object], timeout: float) -> tuple[list[object], list[object]]:
        return references, []

    def get(self, _reference: object) -> bytes:
        return self.data

    def kill(self, _actor: object) -> None:
        """Nothing lives."""


class ray_exceptions:  # noqa: N801  a module of Ray's
    RayError = RayTaskError = ZeroDivisionError
