"""Who may ask: the host that a request names, where it comes from, and the key it brings.

A page in a browser can make a request to this machine. It cannot choose the `Host` header of a
name that was rebound to 127.0.0.1, nor leave out `Origin`, so both are checked.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request

from vqa_engine.errors import ConfigurationError, RequestError

_HERE = ("localhost", "127.0.0.1", "::1")
_OPEN = "/health"
"""The one path that needs no key: it says nothing but that the server is there."""


class Guard:
    """What a request must bring. `key` None asks for none, which only a loopback address may.

    `names` are further host names under which clients know this server. One that listens on
    all addresses does not know its names, and has its key instead.

    Raises:
        ConfigurationError: the address can be reached from elsewhere, and there is no key.
    """

    def __init__(self, host: str, names: Iterable[str], key: str | None, variable: str) -> None:
        if not is_loopback(host) and not key:
            raise ConfigurationError(
                f"A server on {host} can be reached from other machines and needs a key: set the "
                f"environment variable {variable}, or listen on 127.0.0.1."
            )
        self._key = key.encode() if key else None
        given = {name.lower() for name in names}
        self._names = None if _is_wildcard(host) and not given else {*_HERE, host.lower(), *given}

    def check(self, request: Request) -> None:
        """Let a request pass.

        Raises:
            RequestError: it may not.
        """
        for name in ("host", "origin"):
            value = request.headers.get(name)
            if value is not None and not self._knows(value if name == "origin" else f"//{value}"):
                raise RequestError(
                    f"The {name} {value!r} is not allowed; --allow-host adds a name.", status=403
                )
        if request.url.path != _OPEN and not self._admits(request.headers.get("authorization", "")):
            raise RequestError(
                "The API key is missing or wrong.", status=401, code="invalid_api_key"
            )

    def _knows(self, url: str) -> bool:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return False
        return self._names is None or host in self._names

    def _admits(self, given: str) -> bool:
        if self._key is None:
            return True
        scheme, _, key = given.partition(" ")
        same = hmac.compare_digest(key.strip().encode("utf-8", "surrogateescape"), self._key)
        return scheme.lower() == "bearer" and same


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
