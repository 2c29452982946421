"""A moment at which a request is over, however slowly a server sends its answer.

httpx2's timeouts are for each piece that is read or written, so a server that sends a byte at
a time, of headers or of a body, never runs into them. Its connections have one place where all
is read and written, httpcore2's network backend.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Any

import httpcore2
import httpx2

_PIECE = 1 << 16
"""Bytes that are written between two looks at the clock."""

_over: ContextVar[float] = ContextVar("over", default=inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """While this lasts, what this thread sends and reads has to be done in so many seconds."""
    token = _over.set(monotonic() + seconds)
    try:
        yield
    finally:
        _over.reset(token)


def punctual(http: httpx2.Client) -> httpx2.Client:
    """The client, with connections that `within` ends.

    httpx2 has no public way to give its pools a backend. `tests/http/test_bounds.py` fails
    with a version that keeps it elsewhere.
    """
    for transport in (http._transport, *http._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            transport._pool._network_backend = _Backend()
    return http


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._stream.write(piece, _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    left = _over.get() - monotonic()
    if left <= 0:
        raise error("the request's time is over")
    return left if timeout is None else min(timeout, left)
