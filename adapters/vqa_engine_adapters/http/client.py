"""Requests to a server, sent again while that may help."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import frozen

from vqa_engine.errors import AnswerError, BackendGone, ConfigurationError, VqaEngineError
from vqa_engine_adapters.http.options import Options

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

CONNECT = 10.0
"""Seconds that a connection may take; it is the answer that takes long."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries: doubled each time, and drawn at random from zero up to that, so
that many requests refused at once do not come back at once."""

BUSY = frozenset({408, 429, 502, 503, 504, 529})
"""Statuses of a server, or of the proxy before one, that will be itself again: 429 is RFC
6585's, 529 means overloaded by usage."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen
class _Fault:
    """A try that failed: what happened, and whether only the server's absence is to blame."""

    reason: str
    away: bool
    wait: float | None = None


class Client:
    """One server. `send` may be called from several threads.

    A server that stayed away for all the patience there is gets a single try for each
    further request until it answers again: a run over a dead server ends soon.
    """

    def __init__(self, options: Options) -> None:
        self._options, self._key = options, options.api_key()
        self._closing = threading.Event()
        self._given_up = False
        self._http = _session(options, self._key)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> Any:
        """The answer's JSON; `patience` bounds the waiting more tightly than the options.

        Raises:
            ConfigurationError: the server wants another key.
            AnswerError: it refuses the request, or keeps failing on it.
            BackendGone: it stayed away longer than the patience allows.
        """
        whole = 0.0 if self._given_up else self._options.patience
        deadline = monotonic() + min(whole, whole if patience is None else patience)
        failures = pause = 0
        while True:
            outcome = self._try(method, path, body)
            if not isinstance(outcome, _Fault):
                self._given_up = False
                return outcome
            failures += not outcome.away
            if failures > self._options.retries:
                raise AnswerError(
                    f"The server failed {failures} times: {outcome.reason}.", cause="server"
                )
            seconds = _pause(pause, outcome)
            if outcome.away and monotonic() + seconds > deadline:
                raise self._lost(outcome)
            log.info("%s: trying again in %.1f s", outcome.reason, seconds)
            pause += 1
            if self._closing.wait(seconds):
                raise AnswerError("The adapter was released meanwhile.", cause="released")

    def close(self) -> None:
        """Close all connections, and end the waiting of requests under way."""
        self._closing.set()
        self._http.close()

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        """One try: the answer's JSON, or what went wrong if another may go better."""
        import httpx2

        try:
            response = self._http.request(method, path, json=body)
        except httpx2.ReadTimeout:
            return _Fault(f"no answer within {self._options.timeout:g} s", away=False)
        except httpx2.TransportError as error:
            return _Fault(f"the server is away ({type(error).__name__})", away=True)
        if response.is_success:
            return self._decoded(response)
        return self._refused(response)

    def _decoded(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:  # a proxy's page, or half an answer
            return _Fault("the answer is no JSON", away=False)

    def _refused(self, response: httpx2.Response) -> _Fault:
        status = response.status_code
        reason = f"HTTP status {status}: {self._said(response)}"
        if status in BUSY:
            return _Fault(reason, away=True, wait=_retry_after(response))
        if status >= 500:
            return _Fault(reason, away=False, wait=_retry_after(response))
        raise self._final(status, reason)

    def _final(self, status: int, reason: str) -> VqaEngineError:
        if status in {401, 403}:
            given = "was refused" if self._key else "is missing"
            return ConfigurationError(
                f"The server's key {given} ({reason}). "
                f"Put the right one into the environment variable {self._options.api_key_env}."
            )
        return AnswerError(f"The server refuses the request ({reason}).", cause="refused")

    def _said(self, response: httpx2.Response) -> str:
        """The start of an error's text, without the key: some servers quote it."""
        text = " ".join(response.text.split())
        if self._key:
            text = text.replace(self._key, "***")
        return text[:300] or "no text"

    def _lost(self, fault: _Fault) -> BackendGone:
        self._given_up = True
        return BackendGone(
            f"{self._options.base_url}: {fault.reason}, and went on being so. "
            "Start the server; the same command begins the run, or continues it."
        )


def _session(options: Options, key: str | None) -> httpx2.Client:
    import httpx2

    return httpx2.Client(
        base_url=options.base_url.rstrip("/"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx2.Timeout(options.timeout, connect=CONNECT),
        limits=httpx2.Limits(max_connections=options.in_flight),
        # A proxy of the environment cannot reach this machine's own servers.
        trust_env=urlsplit(options.base_url).hostname not in _LOOPBACK,
    )


def _pause(number: int, fault: _Fault) -> float:
    """Seconds to wait: what the server asks for, else a random share of a doubling bound."""
    if fault.wait is not None:
        return min(fault.wait, LONGEST_PAUSE)
    return random.uniform(0.0, min(FIRST_PAUSE * 2**number, LONGEST_PAUSE))


def _retry_after(response: httpx2.Response) -> float | None:
    """The seconds of a Retry-After header; its other form, a date, is passed over."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
