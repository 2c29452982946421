"""What `ModelRef.options` may hold for a server, checked before anything is sent."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field, fields, frozen, validators

from vqa_engine_adapters.growth import MOST
from vqa_engine_adapters.options import text

BASE_URL = "http://127.0.0.1:8080/v1"
"""Where mlx-vlm's own server and llama.cpp's listen by default."""

_API_KEY_ENV = "VQA_ENGINE_API_KEY"
"""The environment variable with the key. Not OPENAI_API_KEY: a key for one company is not to
be sent to whatever server `base_url` names unless somebody asks for it."""


TIMEOUT = PATIENCE = 100.0
"""Seconds. A worker is given up when a question takes longer than `--answer-timeout`, 120 s by
default; the request and its retries have to end before that."""


def _checked_urls(_options: Options, _attribute: Attribute[str], value: str) -> None:
    urls = _urls(value)
    for url in urls:
        _check(url)
    if len(set(urls)) < len(urls):
        raise ValueError("base_url names an address twice")


def _urls(value: str) -> tuple[str, ...]:
    return tuple(url.strip().rstrip("/") for url in value.split(","))


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    if parts.username or parts.password or parts.query:
        # It would be logged and journaled with the rest of the address.
        raise ValueError(
            "base_url must not contain a user, password or query; keys go in the environment"
        )


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping; the command line gives it as JSON text."""
    return dict(json.loads(value) if isinstance(value, str) else value)


def _in_flight(value: Any) -> int | None:
    return None if value in {None, "auto"} else int(value)


@frozen(kw_only=True)
class Options:
    """How to reach a server and how hard to try.

    `base_url` is the address up to and with `/v1`, or several of them, separated by commas: they
    share the questions, and one that is away leaves its share to the others. `api_key_env`
    names the environment variable that holds the key, if the servers want one. `instruction`
    replaces the text appended to each question. `in_flight` is the most requests under way at
    each address at once; `auto` begins with 8, doubles while that brings more answers per
    second, and halves when a server is too busy.

    A request may last `timeout` seconds. It is sent again up to `retries` times after a
    server error or a broken answer, and as often as needed while there is no connection or
    the server is busy, but only until `patience` seconds are over. Raise `--answer-timeout`
    with them. `extra` goes into each request's body as it is.
    """

    base_url: str = field(default=BASE_URL, validator=_checked_urls)
    api_key_env: str = field(default=_API_KEY_ENV, validator=validators.matches_re(r"\w+"))
    instruction: str | None = text()
    in_flight: int | None = field(
        default=None, converter=_in_flight, validator=validators.optional(validators.ge(1))
    )
    timeout: float = field(default=TIMEOUT, converter=float, validator=validators.gt(0))
    retries: int = field(default=4, converter=int, validator=validators.ge(0))
    patience: float = field(default=PATIENCE, converter=float, validator=validators.ge(0))
    extra: dict[str, Any] = field(factory=dict, converter=_mapping)

    @property
    def most_in_flight(self) -> int:
        """Connections to one address that may be needed at once."""
        return self.in_flight or MOST

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address, without a slash at its end."""
        return _urls(self.base_url)

    def api_key(self) -> str | None:
        """The key, None when the environment has none. It is kept nowhere else."""
        return os.environ.get(self.api_key_env) or None


SECRET = frozenset(one.name for one in fields(Options)) - {"base_url"}
"""Options whose values appear in no message; `base_url` is checked for keys first."""
