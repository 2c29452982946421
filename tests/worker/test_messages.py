"""Messages: what goes in comes out, whatever it is made of."""

from __future__ import annotations

import string
from pathlib import Path

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.adapter import (
    Answer,
    Described,
    GenerationPlan,
    MemoryProfile,
    MemoryReading,
    ModelRef,
    Question,
    Timings,
    TokenCounts,
    portable,
)
from vqa_engine.memory.strategies import PrefillStep
from vqa_engine.results import Attempt, Failure, Loaded, MemoryEvent, Released, Reply
from vqa_engine.worker import messages as m

INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
SMALL = st.integers(1, 1 << 40)
TEXT = st.text()
IDS = INTEGERS | TEXT
PATHS = st.text(string.printable.replace("\0", ""), min_size=1).map(Path)
FLOATS = st.floats(allow_nan=False)
OPTIONS = st.dictionaries(TEXT, TEXT | INTEGERS | FLOATS | st.none() | st.booleans() | PATHS)
MAYBE = st.none() | SMALL

PLANS = st.builds(
    GenerationPlan,
    max_tokens=SMALL,
    temperature=st.floats(0, 2),
    seed=INTEGERS,
    prefill_step=MAYBE,
    image_longest_edge=MAYBE,
    kv_bits=st.sampled_from([None, 2, 3, 4, 6, 8]),
    encoder_batch=MAYBE,
    rung=st.integers(0, 9),
)
IMAGES = (
    st.builds(m.PathImage, PATHS)
    | st.builds(m.BytesImage, SMALL, st.binary())
    | st.builds(m.PixelImage, SMALL, st.tuples(SMALL, SMALL), st.binary())
)
ASKED = st.builds(
    m.Asked,
    serial=SMALL,
    question_id=IDS,
    image=IMAGES,
    text=TEXT,
    choices=st.lists(TEXT).map(tuple),
    origin=st.none() | TEXT,
    image_root=st.none() | PATHS,
    images=st.lists(IMAGES, max_size=2).map(tuple),
)
ASKS = st.builds(
    m.Ask,
    order=st.lists(SMALL).map(tuple),
    new=st.lists(ASKED.map(m.encode_asked).map(msgspec.Raw), max_size=3).map(tuple),
    limit=SMALL,
    plan=PLANS,
)
LOADS = st.builds(
    m.Load,
    name=TEXT,
    label=TEXT,
    model=st.builds(ModelRef, model=st.none() | TEXT, options=OPTIONS),
    target=st.none() | TEXT,
    path=st.none() | st.lists(TEXT).map(tuple),
)
READINGS = st.builds(MemoryReading, active=MAYBE, cache=MAYBE, peak=MAYBE, footprint=MAYBE)
ANSWERS = st.builds(
    Answer,
    text=TEXT,
    plan=PLANS,
    token_ids=st.lists(INTEGERS).map(tuple),
    finish_reason=st.sampled_from(["stop", "length"]),
    tokens=st.none() | st.builds(TokenCounts, prompt=SMALL, completion=SMALL, image=MAYBE),
    timings=st.none() | st.builds(Timings, prepare=FLOATS, prefill=FLOATS, decode=FLOATS),
    memory=st.none() | READINGS,
)
CAUSES = st.sampled_from(["image", "out_of_memory", "killed", "exited", "python"])
EVENTS = st.lists(
    st.builds(MemoryEvent, strategy=TEXT, call=TEXT, freed=INTEGERS, question_id=st.none() | IDS),
    max_size=3,
).map(tuple)
ATTEMPTS = st.lists(st.builds(Attempt, plan=PLANS, cause=CAUSES, message=TEXT), max_size=3)
FAILURES = st.builds(Failure, cause=CAUSES, message=TEXT, detail=TEXT)
REPLIES = st.builds(
    Reply,
    answer=st.none() | ANSWERS,
    failure=st.none() | FAILURES,
    attempts=ATTEMPTS.map(tuple),
    events=EVENTS,
)
VITALS = st.builds(m.Vitals, address_space=MAYBE, limit=MAYBE)
LEFT = st.builds(m.Left, st.builds(Released, residue=MAYBE, seconds=FLOATS, events=EVENTS))
REFUSED = st.builds(
    m.Refused, kind=TEXT, message=TEXT, cause=CAUSES, facts=st.dictionaries(TEXT, TEXT | PATHS)
)


@given(ASKS | LOADS | st.just(m.Leave()))
def test_to_the_child_and_back(message: m.ToChild) -> None:
    assert m.decode_in_child(m.encode_to_child(message)) == message


@given(
    st.builds(m.Begun, SMALL)
    | st.builds(
        m.Said,
        begun=SMALL,
        vitals=VITALS,
        replies=st.lists(REPLIES.map(m.encode_to_host).map(msgspec.Raw), max_size=3).map(tuple),
        failure=st.none() | FAILURES,
        events=EVENTS,
    )
    | LEFT
    | REFUSED
    | st.builds(m.Hello, SMALL, TEXT, TEXT, SMALL)
)
def test_to_the_host_and_back(message: m.ToHost) -> None:
    assert m.decode_in_host(m.encode_to_host(message)) == message


@given(ASKED)
def test_a_question_crosses_as_it_is(asked: m.Asked) -> None:
    assert m.decode_asked(m.encode_asked(asked)) == asked


@given(REPLIES)
def test_a_reply_crosses_as_it_is(reply: Reply) -> None:
    assert m.decode_reply(m.encode_to_host(reply)) == reply


@given(st.binary())
def test_garbage_is_a_typed_error(data: bytes) -> None:
    for decode in (m.decode_in_child, m.decode_in_host):
        with pytest.raises(msgspec.DecodeError):
            decode(data)


@given(ASKS, st.data())
def test_a_truncated_message_is_a_typed_error(message: m.Ask, data: st.DataObject) -> None:
    whole = m.encode_to_child(message)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(msgspec.DecodeError):
        m.decode_in_child(whole[:cut])


SCORING = {"answers", "image_id", "question_type", "answer_type", "right", "group", "labels"}
"""What only scoring needs of a question."""


def test_ground_truths_do_not_cross() -> None:
    fields = {field.name for field in attrs.fields(Question)}
    assert set(m.Asked.__struct_fields__) == (fields - SCORING) | {"serial"}


def test_a_path_that_is_no_unicode_crosses() -> None:
    path = Path("/a\udcff/b")
    asked = m.Asked(serial=1, question_id=1, image=m.PathImage(path), text="?")
    assert m.decode_asked(m.encode_asked(asked)) == asked


def test_a_text_is_no_path() -> None:
    image = {"type": "bytes", "serial": 1, "data": b""}
    asked = {"serial": 1, "question_id": 1, "text": "", "image_root": "x", "image": image}
    with pytest.raises(msgspec.ValidationError, match="expected a path"):
        m.decode_asked(msgspec.msgpack.encode(asked))


def test_a_strategy_crosses_as_its_description() -> None:
    profile = portable(MemoryProfile(strategies=(PrefillStep(64),)))
    loaded = Loaded(profile=profile, seconds=1.0, memory=MemoryReading())
    message = m.Ready(loaded, m.Vitals())
    ready = m.decode_in_host(m.encode_to_host(message))
    assert isinstance(ready, m.Ready)
    assert ready.loaded.profile.strategies == (Described("PrefillStep", {"tokens": 64}),)


def test_an_invalid_plan_is_refused_on_arrival() -> None:
    answer = {"text": "", "plan": {"kv_bits": 5}}
    with pytest.raises(msgspec.ValidationError, match="kv_bits"):
        m.decode_reply(msgspec.msgpack.encode({"answer": answer}))
