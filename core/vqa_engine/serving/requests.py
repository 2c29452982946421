"""A chat request, read and checked: one question about a picture, and how to answer it.

Field names and defaults are those of OpenAI's API reference, "Create chat completion". What is
not obeyed is refused by name, unless its value asks for nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from attrs import frozen
from msgspec import Meta, Struct

from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import RequestError

_SEEDS = 2**31
"""How many seeds there are; libraries accept no larger ones everywhere. Where a request that
samples brings none, one is drawn, so that asking twice may give two answers."""

_DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)
"""RFC 2397, of an image and in base64."""

_PATH = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`")
"""How msgspec's messages name a place."""

_SYSTEM, _USER = ("system", "developer"), "user"

_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields that are not obeyed, with the values that ask for nothing; null is one of them."""


class _ImageUrl(Struct):
    url: str


class _Text(Struct, tag_field="type", tag="text"):
    text: str


class _Image(Struct, tag_field="type", tag="image_url"):
    image_url: _ImageUrl | str

    @property
    def url(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class _Message(Struct):
    role: str
    content: str | list[_Text | _Image] | None = None

    def parts(self) -> Iterator[_Text | _Image]:
        if isinstance(self.content, str):
            yield _Text(self.content)
        else:
            yield from self.content or ()


class _StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


_Positive = Annotated[int, Meta(ge=1)]
_Temperature = Annotated[float, Meta(ge=0, le=2)]
_Stop = Annotated[str, Meta(min_length=1)]


class _Body(Struct, forbid_unknown_fields=True):
    model: str
    messages: Annotated[list[_Message], Meta(min_length=1)]
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    temperature: _Temperature | None = None
    seed: int | None = None
    stop: _Stop | list[_Stop] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    # Names of the client's own, which concern no answer.
    metadata: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    user: Any = None
    # What is not obeyed: see `_NEUTRAL`.
    audio: Any = None
    frequency_penalty: Any = None
    function_call: Any = None
    functions: Any = None
    logit_bias: Any = None
    logprobs: Any = None
    modalities: Any = None
    n: Any = None
    parallel_tool_calls: Any = None
    prediction: Any = None
    presence_penalty: Any = None
    reasoning_effort: Any = None
    response_format: Any = None
    service_tier: Any = None
    store: Any = None
    tool_choice: Any = None
    tools: Any = None
    top_logprobs: Any = None
    verbosity: Any = None
    web_search_options: Any = None


_decode = msgspec.json.Decoder(_Body).decode


@frozen
class ChatRequest:
    """One question: `images` are the encoded files that it is about, at least one.

    With several, `<image 1>`, `<image 2>`, … in the text say where each belongs. `usage` says
    whether a stream ends with the token counts.
    """

    model: str
    text: str
    images: tuple[bytes, ...]
    plan: GenerationPlan
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False


def read(data: bytes, most_tokens: int) -> ChatRequest:
    """The request in a body; answers are `most_tokens` long at most, and by default.

    Raises:
        RequestError: it is not valid, or asks for something that is not supported.
    """
    body = _decoded(data)
    _refuse_unsupported(body)
    text, images = _asked(body.messages)
    return ChatRequest(
        model=body.model,
        text=text,
        images=images,
        plan=_plan(body, most_tokens),
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        stream=bool(body.stream),
        usage=bool(body.stream_options and body.stream_options.include_usage),
    )


def _decoded(data: bytes) -> _Body:
    try:
        return _decode(data)
    except msgspec.ValidationError as error:
        text = str(error)
        place, unknown = _PATH.search(text), _UNKNOWN.search(text)
        if unknown:
            raise RequestError(
                f"The field {unknown['name']!r} is not supported.",
                param=unknown["name"],
                code="unsupported_parameter",
            ) from error
        raise RequestError(f"{text}.", param=place["path"] if place else None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from error


def _refuse_unsupported(body: _Body) -> None:
    for name, neutral in _NEUTRAL.items():
        value = getattr(body, name)
        if value is not None and value not in neutral:
            raise _unsupported(name)
    # Of a greedy answer every nucleus holds the most likely token.
    if body.temperature and body.top_p not in {None, 1}:
        raise _unsupported("top_p")


def _unsupported(name: str) -> RequestError:
    return RequestError(
        f"This value of {name!r} is not supported; leave it out.",
        param=name,
        code="unsupported_value",
    )


def _asked(messages: Iterable[_Message]) -> tuple[str, tuple[bytes, ...]]:
    """The question's text, the system's before the user's, and its pictures."""
    system, user, images = list[str](), list[str](), list[tuple[str, str]]()
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if message.role not in {*_SYSTEM, _USER}:
            raise RequestError(
                f"A request is one question about one picture, without earlier turns, and "
                f"{place} has the role {message.role!r}.",
                param=f"{place}.role",
            )
        texts = user if message.role == _USER else system
        for part in message.parts():
            if isinstance(part, _Text):
                texts.append(part.text)
            elif message.role == _USER:
                images.append((place, part.url))
                user.append(f"<image {len(images)}>")
            else:
                raise RequestError("A picture belongs in a user message.", param=place)
    markers = [f"<image {number}>" for number in range(1, 1 + len(images))]
    if not any(text.strip() for text in user if text not in markers):
        raise RequestError("The user's messages have no text to ask.", param="messages")
    if not images:
        raise RequestError("A question is about a picture, and this has none.", param="messages")
    if len(images) == 1:  # its adapter knows the best place for it
        user.remove(markers[0])
    return "\n".join(system + user), tuple(_image(place, url) for place, url in images)


def _image(place: str, url: str) -> bytes:
    head = _DATA_URL.match(url, 0, 200)
    if head is None:
        raise RequestError(
            "A picture must be a data: URL of an image in base64; addresses and files are not "
            "opened for a client.",
            param=place,
        )
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"The picture's base64 is not valid: {error}.", param=place) from error


def _plan(body: _Body, most_tokens: int) -> GenerationPlan:
    """How to answer; greedy unless a temperature is given, and then a seed has no effect."""
    wanted = body.max_completion_tokens or body.max_tokens or most_tokens
    temperature = body.temperature or 0.0
    seed = 0
    if temperature:
        seed = secrets.randbelow(_SEEDS) if body.seed is None else body.seed % _SEEDS
    return GenerationPlan(max_tokens=min(wanted, most_tokens), temperature=temperature, seed=seed)
