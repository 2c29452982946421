"""A server's answer is bounded in bytes and time, and never quotes the key."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vqa_engine_adapters.http import bounds
from vqa_engine_adapters.http.bounds import TooLarge, bounded_answer, without_key
from vqa_engine_adapters.http.deadline import punctual

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@contextmanager
def sending(pieces: Iterator[bytes], pause: float = 0.0, first: bytes = b"") -> Iterator[str]:
    """A server that answers one request with these pieces; its address.

    With `first` a request before that gets it as a whole answer, on the same connection.
    """
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = server.accept()
            with connection:
                if first:
                    connection.recv(65536)
                    connection.sendall(first)
                connection.recv(65536)
                for piece in pieces:
                    if over.wait(pause) if pause else over.is_set():
                        return
                    connection.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        over.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # it waits for nobody any more
        server.close()
        thread.join()


@contextmanager
def client(address: str, **options: Any) -> Iterator[httpx2.Client]:
    """A client as the adapter makes it."""
    with punctual(httpx2.Client(base_url=address, trust_env=False, **options)) as http:
        yield http


def asked(address: str, timeout: float) -> httpx2.Response:
    """One request, as the adapter makes it."""
    with client(address) as http:
        return bounded_answer(http, "GET", "/x", None, timeout)


DRIPS = {
    "headers": (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
    "many headers": (HEAD, b"x: y\r\n"),
    "status": (b"HTTP/1.1 ", b"2"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (HEAD + b"\r\n", b"x"),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("first", [b"", HEAD + b"content-length: 2\r\n\r\n{}"])
@pytest.mark.parametrize("name", DRIPS)
def test_an_answer_that_drips_ends_in_time(name: str, first: bytes) -> None:
    begin, drop = DRIPS[name]
    with (
        sending(chain([begin], repeat(drop)), pause=0.01, first=first) as address,
        client(address) as http,
    ):
        if first:
            assert bounded_answer(http, "GET", "/x", None, 30).json() == {}
        with pytest.raises(httpx2.ReadTimeout):
            bounded_answer(http, "GET", "/x", None, 0.1)


def test_a_server_that_does_not_read_ends_in_time() -> None:
    with (
        sending(repeat(b"x"), pause=60) as address,
        client(address) as http,
        pytest.raises(httpx2.WriteTimeout),
    ):
        bounded_answer(http, "POST", "/x", {"image": "x" * (8 << 20)}, 0.3)


def test_an_answer_through_a_proxy_that_drips_ends_in_time() -> None:
    with (
        sending(chain([HEAD], repeat(b"x")), pause=0.01) as address,
        client("http://elsewhere.test", proxy=address) as http,
        pytest.raises(httpx2.ReadTimeout),
    ):
        bounded_answer(http, "GET", "/x", None, 0.1)


def test_a_body_without_end_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST", 1 << 16)
    endless = iter([HEAD + b"\r\n", *repeat(b"x" * 4096, 64)])
    with sending(endless) as address, pytest.raises(TooLarge):
        asked(address, 30)


def test_headers_without_end_are_no_answer() -> None:
    endless = iter([HEAD, *repeat(b"x: y\r\n" * 1000, 200)])
    with sending(endless) as address, pytest.raises(httpx2.TransportError):
        asked(address, 30)


def test_an_ordinary_answer_comes_whole() -> None:
    body = json.dumps({"said": "yes"}).encode()
    whole = HEAD + f"content-length: {len(body)}\r\n\r\n".encode() + body
    with sending(iter([whole])) as address:
        assert asked(address, 30).json() == {"said": "yes"}


keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=30)
FORMS = (str, repr, json.dumps, lambda key: json.dumps(json.dumps(key)), quote)


@given(key=keys | st.just('sk-"quoted"\\and\\\\more'), form=st.sampled_from(FORMS))
def test_no_form_of_the_key_is_quoted_back(key: str, form: object) -> None:
    assert callable(form)
    assume(len(set(key)) > 3 and "*" not in key)
    said = without_key(f"wrong key: {form(key)} given", key)
    assert key not in said
    assert key not in said.replace("\\", "")
    assert form(key).strip("'\"") not in said


def test_a_text_without_the_key_stays() -> None:
    assert without_key("no such model", "sk-123456") == "no such model"
    assert without_key("no such model", None) == "no such model"
