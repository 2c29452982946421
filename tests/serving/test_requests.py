"""Reading a request's body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import png
from tests.serving.running import body, picture
from vqa_engine.errors import RequestError
from vqa_engine.serving.requests import ChatRequest, read


def parsed(most_tokens: int = 512, **fields: Any) -> ChatRequest:
    return read(json.dumps(body(**fields)).encode(), most_tokens)


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    return caught.value


def message(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def text(words: str = "Is it red?") -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_the_least() -> None:
    asked = parsed()
    assert (asked.model, asked.text, asked.images) == ("echo", "What is it?", (png((8, 6)),))
    assert (asked.plan.max_tokens, asked.plan.temperature, asked.plan.seed) == (8, 0.0, 0)
    assert (asked.stop, asked.stream, asked.usage) == ((), False, False)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens": None}, 512),
        ({"max_tokens": 16384}, 512),
        ({"max_tokens": 10**30}, 512),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_token_limit(fields: dict[str, Any], tokens: int) -> None:
    assert parsed(**fields).plan.max_tokens == tokens


def test_a_seed_counts_only_where_it_samples() -> None:
    assert parsed(seed=7).plan == parsed(seed=8).plan
    assert parsed(seed=7, temperature=0.5).plan.seed == 7
    assert parsed(seed=-1, temperature=0.5).plan.seed >= 0
    drawn = {parsed(temperature=0.5).plan.seed for _ in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize(("stop", "read"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b"))])
def test_stop(stop: Any, read: tuple[str, ...]) -> None:
    assert parsed(stop=stop).stop == read


def test_order_of_parts_and_messages() -> None:
    messages = [
        message(text("one"), role="developer"),
        message(picture(), text("three")),
        message(text("two"), role="system"),
        {"role": "user", "content": "four"},
    ]
    assert parsed(messages=messages).text == "one\ntwo\nthree\nfour"


def test_several_pictures_keep_their_places() -> None:
    parts = [text("Left:"), picture("red"), text("right:"), picture("blue"), text("Alike?")]
    asked = parsed(messages=[message(*parts)])
    assert asked.text == "Left:\n<image 1>\nright:\n<image 2>\nAlike?"
    assert asked.images == (png((8, 6), "red"), png((8, 6), "blue"))


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "logprobs": False, "top_p": 1, "tools": [], "response_format": {"type": "text"}},
        {"n": None, "logprobs": None, "top_logprobs": None, "logit_bias": None, "store": None},
        {"user": "me", "metadata": {"a": "b"}, "stream_options": None},
        {"top_p": 0.3, "temperature": 0},
        {"presence_penalty": 0.0, "frequency_penalty": 0},
    ],
)
def test_what_asks_for_nothing_passes(fields: dict[str, Any]) -> None:
    assert parsed(**fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_p": 0.3, "temperature": 1}, "top_p"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"model": {}}, "model"),
        ({"messages": [message(text(), {"type": "input_audio"})]}, "messages[0].content[1].type"),
        ({"messages": [message(text(), picture()), message(role="assistant")]}, "messages[1].role"),
        ({"messages": [message(text())]}, "messages"),
        ({"messages": [message(picture())]}, "messages"),
        ({"messages": [message(text(), picture(), role="system")]}, "messages[0]"),
    ],
)
def test_a_refusal_names_its_field(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert (error.status, error.param, error.retry_after) == (400, param, None)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/picture.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:text/plain;base64,aGFsbG8=",
        "data:image/png,aGFsbG8=",
        "data:image/png;base64,a",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,aé==",
    ],
)
def test_only_pictures_in_the_request_are_opened(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert refused(messages=[message(text(), part)]).status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["model", "messages", "max_tokens", "temperature", "seed", "stop", "stream", "top_p", "tools"]
)
PARTS = st.dictionaries(
    st.sampled_from(["type", "text", "image_url", "role", "content", "url"]),
    JSON | st.sampled_from(["text", "image_url", "user", "system"]),
)
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(FIELDS | st.text(), JSON | st.lists(PARTS, max_size=3)).map(
        lambda fields: json.dumps(body() | fields).encode()
    )
    | st.lists(PARTS, max_size=3).map(
        lambda parts: json.dumps(body(messages=[message(text(), picture(), *parts)])).encode()
    )
)
"""Bodies of all sorts, many of them nearly in order."""


@given(BODIES)
def test_any_body_is_read_or_refused(data: bytes) -> None:
    try:
        outcome: ChatRequest | RequestError = read(data, 64)
    except RequestError as error:
        outcome = error
    if isinstance(outcome, RequestError):
        assert outcome.status == 400
    else:
        assert 1 <= outcome.plan.max_tokens <= 64
        assert outcome.text.encode()
