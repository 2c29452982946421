"""Requests to a server, or to several that share them, sent again while that may help."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import count
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define, frozen

from vqa_engine.errors import AnswerError, BackendGone, ConfigurationError, VqaEngineError
from vqa_engine_adapters.http.bounds import TooLarge, bounded_answer, without_key
from vqa_engine_adapters.http.options import Options

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries where the server names none: doubled each time, and drawn at
random from zero up to that, so that many requests refused at once do not come back at once."""

_BUSY = frozenset({408, 429, 502, 503, 504, 529})
"""Statuses of a server, or of the proxy before one, that will be itself again: 429 is RFC
6585's, 529 means overloaded by usage."""

_OVERLOADED = frozenset({429, 503, 529})
"""Those of them that say that too much was asked at once."""

_LONGEST_SAID = 1 << 16
"""Characters of an error's text that are looked at for the key before it is cut."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen
class _Fault:
    """A try that failed: what happened, whether the server is just not there at present, and
    how many seconds it asks to wait."""

    reason: str
    away: bool
    wait: float | None = None


@define(eq=False)
class _Address:
    """One server: its connections, the requests under way, and when to ask it again."""

    url: str
    http: httpx2.Client
    busy: int = 0
    absences: int = 0
    away_until: float = 0.0
    subject: object = None


Body = Callable[[str], Mapping[str, Any]]
"""The body of a request to an address: servers know one model by different names."""


@frozen
class Sent:
    """A server's answer: its JSON, and the address that it came from."""

    reply: Any
    url: str


class Client:
    """One server or several. `send` may be called from several threads.

    Of several the one with the fewest requests under way is asked, unless it did not respond of
    late. When none responded for all the patience there is, each further request gets a
    single try until one answers again: a run over a dead server ends soon. `overloads` counts
    the answers that say that a server has too much to do.
    """

    def __init__(self, options: Options) -> None:
        self._options, self._key = options, options.api_key()
        self._closing = threading.Event()
        self._given_up = False
        self.overloads = 0
        self._changed = threading.Condition()
        self._addresses = [
            _Address(url, _session(url, options, self._key)) for url in options.addresses
        ]

    def get(self, path: str, url: str, patience: float) -> Any:
        """One server's JSON; the request counts as none of those under way.

        Raises:
            VqaEngineError: as `send`.
        """
        address = next(one for one in self._addresses if one.url == url)
        return self._send(path, None, patience, only=address).reply

    def send(self, path: str, body: Body, subject: object = None) -> Sent:
        """What a server answers; another one is asked where one is away.

        Requests with one `subject` go to one server while it is not full: it may have computed
        for the first what the others need as well.

        No try begins when the patience is over, and no try but the first outlasts it.

        Raises:
            ConfigurationError: the server wants another key.
            AnswerError: it refuses the request, or keeps failing on it.
            BackendGone: none responded for as long as the patience allows.
        """
        patience = 0.0 if self._given_up else self._options.patience
        try:
            sent = self._send(path, body, patience, subject)
        except BackendGone:
            self._given_up = True
            raise
        self._given_up = False
        return sent

    def _send(
        self,
        path: str,
        body: Body | None,
        patience: float,
        subject: object = None,
        *,
        only: _Address | None = None,
    ) -> Sent:
        deadline = monotonic() + min(self._options.patience, patience)
        timeout, failures = self._options.timeout, 0
        for number in count():
            with nullcontext(only) if only else self._taken(subject) as address:
                outcome = self._try(address, path, body, timeout)
                if not isinstance(outcome, _Fault):
                    address.away_until, address.absences = 0.0, 0
                    return Sent(outcome, address.url)
                seconds = self._put_off(address, outcome, number)
            if outcome.away and only is None:
                seconds = self._until_one_is_here()
            failures += not outcome.away
            left = deadline - monotonic() - seconds
            if left <= 0 or failures > self._options.retries:
                raise self._lost(address.url, outcome, number + 1)
            log.info("%s: %s: trying again in %.1f s", address.url, outcome.reason, seconds)
            if self._closing.wait(seconds):
                raise _released()
            timeout = min(self._options.timeout, left)
        raise AssertionError("count() has no end")

    def quoted(self, text: str) -> str:
        """The start of what a server says, on one line, without the key: some quote it."""
        return without_key(" ".join(text[:_LONGEST_SAID].split()), self._key)[:300]

    def close(self) -> None:
        """Close all connections, and end the waiting of requests under way."""
        self._closing.set()
        for address in self._addresses:
            address.http.close()

    @contextmanager
    def _taken(self, subject: object) -> Iterator[_Address]:
        """The address to ask next, counted as busy meanwhile; waits where all are."""
        with self._changed:
            while (address := self._best(subject)) is None:
                self._changed.wait()
            if self._closing.is_set():
                raise _released()
            address.busy, address.subject = address.busy + 1, subject
        try:
            yield address
        finally:
            with self._changed:
                address.busy -= 1
                self._changed.notify()

    def _best(self, subject: object) -> _Address | None:
        """Of those that respond the one with this subject, else the least busy.

        Where none responds, it is the one to ask again first.
        """
        now = monotonic()
        free = [one for one in self._addresses if one.busy < self._options.most_in_flight]
        here = [one for one in self._addresses if one.away_until <= now]
        if here:
            free = [one for one in here if one in free]
            return min(free, key=lambda one: (one.subject != subject, one.busy), default=None)
        return min(free, key=lambda one: one.away_until, default=None)

    def _put_off(self, address: _Address, fault: _Fault, number: int) -> float:
        """Seconds to wait before the next try; one that is away is asked ever more seldom."""
        if not fault.away:
            return _pause(number, fault)
        with self._changed:
            seconds = _pause(address.absences, fault)
            if address.away_until <= monotonic():
                address.absences += 1
            address.away_until = monotonic() + seconds
            return seconds

    def _until_one_is_here(self) -> float:
        """Seconds until an address may be asked again."""
        with self._changed:
            return max(0.0, min(one.away_until for one in self._addresses) - monotonic())

    def _try(self, address: _Address, path: str, body: Body | None, timeout: float) -> Any:
        """One try: the answer's JSON, or what went wrong if another may go better."""
        import httpx2

        try:
            method, content = ("GET", None) if body is None else ("POST", body(address.url))
        except BackendGone as error:  # it was away when it was to say its model's name
            return _Fault(str(error), away=True)
        try:
            response = bounded_answer(address.http, method, path, content, timeout)
        except httpx2.ReadTimeout:
            return _Fault(f"no answer within {timeout:g} s", away=False)
        except (TooLarge, httpx2.DecodingError) as error:
            return _Fault(str(error), away=False)
        except httpx2.TransportError as error:
            return _Fault(f"no connection ({type(error).__name__})", away=True)
        if response.is_success:
            return self._decoded(response)
        return self._refused(response)

    def _decoded(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError):  # a proxy's page, half an answer, or a hostile one
            return _Fault("the answer is not JSON", away=False)

    def _refused(self, response: httpx2.Response) -> _Fault:
        status = response.status_code
        reason = f"HTTP status {status}: {self._said(response)}"
        self.overloads += status in _OVERLOADED
        if status in _BUSY:
            return _Fault(reason, away=True, wait=_retry_after(response))
        if status >= 500 and response.headers.get("x-should-retry") == "false":
            # OpenAI's own client obeys it (openai-python, _base_client.py).
            raise AnswerError(f"The server failed for good ({reason}).", cause="server")
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
        """The start of an error's text, in UTF-8: the charset that a server names may be none."""
        return self.quoted(response.content.decode(errors="replace")) or "no text"

    def _lost(self, where: str, fault: _Fault, tries: int) -> VqaEngineError:
        """The error for the last fault there was patience for."""
        if not fault.away:
            times = "once" if tries == 1 else f"{tries} times"
            return AnswerError(f"The server failed {times}: {fault.reason}.", cause="server")
        wait = "" if fault.wait is None else f", and asks to wait {fault.wait:.0f} s"
        return BackendGone(
            f"The server at {where} did not respond ({fault.reason}{wait}). "
            "Start it or wait until it is free; the same command continues the run."
        )


def _released() -> AnswerError:
    return AnswerError("The adapter was released meanwhile.", cause="released")


def _session(url: str, options: Options, key: str | None) -> httpx2.Client:
    import httpx2

    from vqa_engine_adapters.http.deadline import punctual

    if key and not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"The key in the environment variable {options.api_key_env} has characters that no "
            "request can carry. Set it again, without line breaks."
        )
    try:
        http = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx2.Limits(max_connections=options.most_in_flight),
            # No cookie is kept: one that cannot be sent back would fail all further requests.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # A proxy of the environment cannot reach this machine's own servers.
            trust_env=urlsplit(url).hostname not in _LOOPBACK,
        )
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigurationError(
            f"The model option base_url is not valid: {error} ({url!r:.300})."
        ) from error
    return punctual(http)


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
    except (ValueError, OverflowError):
        return None
