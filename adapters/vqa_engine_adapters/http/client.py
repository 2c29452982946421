"""Requests to a server, sent again while that may help."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from itertools import count
from time import monotonic, time
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
"""Seconds between two tries where the server names none: doubled each time, and drawn at
random from zero up to that, so that many requests refused at once do not come back at once."""

BUSY = frozenset({408, 429, 502, 503, 504, 529})
"""Statuses of a server, or of the proxy before one, that will be itself again: 429 is RFC
6585's, 529 means overloaded by usage."""

OVERLOADED = frozenset({429, 503, 529})
"""Those of them that say that too much was asked at once."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen
class _Fault:
    """A try that failed: what happened, whether the server is just not there at present, and
    how many seconds it asks to wait."""

    reason: str
    away: bool
    wait: float | None = None


class Client:
    """One server. `send` may be called from several threads.

    `overloads` counts the answers that say it has too much to do.

    A server that did not respond for all the patience there is gets a single try for each
    further request until it answers again: a run over a dead server ends soon.
    """

    def __init__(self, options: Options) -> None:
        self._options, self._key = options, options.api_key()
        self._closing = threading.Event()
        self._given_up = False
        self.overloads = 0
        self._http = _session(options, self._key)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        patience: float | None = None,
    ) -> Any:
        """The answer's JSON; `patience` bounds the waiting more tightly than the options.

        No try begins when the patience is over, and no try but the first outlasts it.

        Raises:
            ConfigurationError: the server wants another key.
            AnswerError: it refuses the request, or keeps failing on it.
            BackendGone: it did not respond for as long as the patience allows.
        """
        whole = 0.0 if self._given_up else self._options.patience
        deadline = monotonic() + min(whole, whole if patience is None else patience)
        timeout, failures = self._options.timeout, 0
        for number in count():
            outcome = self._try(method, path, body, timeout)
            if not isinstance(outcome, _Fault):
                self._given_up = False
                return outcome
            failures += not outcome.away
            seconds = _pause(number, outcome)
            left = deadline - monotonic() - seconds
            if left <= 0 or failures > self._options.retries:
                raise self._lost(outcome, number + 1)
            log.info("%s: trying again in %.1f s", outcome.reason, seconds)
            if self._closing.wait(seconds):
                raise AnswerError("The adapter was released meanwhile.", cause="released")
            timeout = min(self._options.timeout, left)
        raise AssertionError("count() has no end")

    def close(self) -> None:
        """Close all connections, and end the waiting of requests under way."""
        self._closing.set()
        self._http.close()

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
        """One try: the answer's JSON, or what went wrong if another may go better."""
        import httpx2

        try:
            response = self._http.request(method, path, json=body, timeout=_limits(timeout))
        except httpx2.ReadTimeout:
            return _Fault(f"no answer within {timeout:g} s", away=False)
        except httpx2.TransportError as error:
            return _Fault(f"no connection ({type(error).__name__})", away=True)
        if response.is_success:
            return self._decoded(response)
        return self._refused(response)

    def _decoded(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:  # a proxy's page, or half an answer
            return _Fault("the answer is not JSON", away=False)

    def _refused(self, response: httpx2.Response) -> _Fault:
        status = response.status_code
        reason = f"HTTP status {status}: {self._said(response)}"
        self.overloads += status in OVERLOADED
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
                f"Set the environment variable {self._options.api_key_env} to a valid one."
            )
        return AnswerError(f"The server refuses the request ({reason}).", cause="refused")

    def _said(self, response: httpx2.Response) -> str:
        """The start of an error's text, without the key: some servers quote it."""
        text = " ".join(response.text.split())
        if self._key:
            text = text.replace(self._key, "***")
        return text[:300] or "no text"

    def _lost(self, fault: _Fault, tries: int) -> VqaEngineError:
        """The error for the last fault there was patience for."""
        if not fault.away:
            times = "once" if tries == 1 else f"{tries} times"
            return AnswerError(f"The server failed {times}: {fault.reason}.", cause="server")
        self._given_up = True
        wait = "" if fault.wait is None else f", and asks to wait {fault.wait:.0f} s"
        return BackendGone(
            f"The server at {self._options.base_url} did not respond ({fault.reason}{wait}). "
            "Start it or wait until it is free; the same command continues the run."
        )


def _limits(timeout: float) -> httpx2.Timeout:
    import httpx2

    return httpx2.Timeout(timeout, connect=min(CONNECT, timeout))


def _session(options: Options, key: str | None) -> httpx2.Client:
    import httpx2

    return httpx2.Client(
        base_url=options.base_url.rstrip("/"),
        headers={"Authorization": f"Bearer {key}"} if key else {},
        limits=httpx2.Limits(max_connections=options.most_in_flight),
        # A proxy of the environment cannot reach this machine's own servers.
        trust_env=urlsplit(options.base_url).hostname not in _LOOPBACK,
    )


def _pause(number: int, fault: _Fault) -> float:
    """Seconds to wait: what the server asks for, else a random share of a doubling bound."""
    if fault.wait is not None:
        return fault.wait
    return random.uniform(0.0, min(FIRST_PAUSE * 2**number, LONGEST_PAUSE))


def _retry_after(response: httpx2.Response) -> float | None:
    """The seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return None
