"""What a plugin of the group `vqa_engine.places` offers: sites where a model can be loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from threading import Event
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Note
from vqa_engine.runs.manifest import AdapterRecord
from vqa_engine.session.protocol import Session
from vqa_engine.worker.timeouts import Timeouts

MOST_SITES = 1_000
"""Sites of one address."""

_LOCAL = "local"
"""The scheme of an address that has none: `cuda:0` is `local://cuda:0`."""


@frozen(kw_only=True)
class Address:
    """What `--place` says: `SCHEME://TARGET?NAME=VALUE&…`.

    `scheme` is the name of the plugin; `target` and `options` are for it alone.
    """

    scheme: str
    target: str = ""
    options: Mapping[str, str] = field(factory=dict)

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a text means; without a scheme it is a device of this machine."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = _LOCAL, text
        target, _, query = rest.partition("?")
        return cls(
            scheme=scheme, target=target, options=dict(parse_qsl(query, keep_blank_values=True))
        )

    def number(self, name: str, default: float) -> float:
        """The value of an option that is a number, not below 0.

        Raises:
            ConfigurationError: it is not.
        """
        try:
            value = float(self.options.get(name, default))
        except ValueError:
            value = -1.0
        if not 0 <= value < inf:
            raise ConfigurationError(
                f"--place: {name}={self.options[name]!r} is not a number of at least 0."
            )
        return value

    def count(self, default: int) -> int:
        """How many sites are asked for.

        Raises:
            ConfigurationError: `count` is not a whole number from 1 to `MOST_SITES`.
        """
        count = self.number("count", default)
        if not 1 <= count <= MOST_SITES or count != int(count):
            raise ConfigurationError(
                f"--place {self}: count must be a whole number from 1 to {MOST_SITES:,}."
            )
        return int(count)

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.scheme}://{self.target}{'?' if query else ''}{query}"


@frozen(kw_only=True)
class Terms:
    """What a session is opened for: the adapter, and what the caller allows it.

    `logs` is the folder for what workers print, None to keep nothing. `on_note` hears what
    is logged, in the thread that uses the session. Once `cancelled` is set, no call of the
    session may wait any longer; what it raises then is ignored.
    """

    spec: AdapterSpec
    policy: MemoryPolicy = field(factory=MemoryPolicy)
    timeouts: Timeouts = field(factory=Timeouts)
    logs: Path | None = None
    on_note: Callable[[Note], None] = lambda _note: None
    cancelled: Event = field(factory=Event)


@frozen(kw_only=True)
class Presence:
    """Where a session's model is loaded.

    `name` is what each row says. `facts` are recorded with the run: host, device, libraries.
    `record` is what was loaded there, None where it cannot differ from here; a place with
    another version of the adapter or another checkpoint is refused.
    """

    name: str
    facts: Mapping[str, str] = field(factory=dict)
    record: AdapterRecord | None = None


class Site(Protocol):
    """One place: one model at a time lives here. Each site is used by one thread at a time."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it; no two sites of a run share a name."""

    @abstractmethod
    def session(self, terms: Terms) -> Session:
        """A session here, not loaded yet.

        Raises:
            VqaEngineError: this adapter cannot run here.
            PlaceLost: the site is gone for now, and may come back.
        """

    @abstractmethod
    def presence(self) -> Presence:
        """Where the session of last `session` is; asked after it was loaded."""


@runtime_checkable
class Places(Protocol):
    """The sites of one address. A plugin is a callable that makes one of an `Address`."""

    @abstractmethod
    def open(self) -> Sequence[Site]:
        """Reach the sites; called once.

        Raises:
            ConfigurationError: the address is wrong; its text says how.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what `open` took; calling it twice is safe, and so is never opening."""
