"""What the host asks of the child, and what the child found."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import frozen

from vqa_engine.adapter import MemoryProfile, restore


@frozen(kw_only=True)
class Wanted:
    """One entry point to try; `number` is its place in the host's list."""

    number: int
    group: str
    name: str
    target: str


@frozen(kw_only=True)
class Job:
    """Everything that one child is to try.

    `path` is the host's `sys.path`. `longest` is the seconds that each plugin may take,
    `bind` asks for every declared strategy to be bound to its backend, which imports that.
    """

    wanted: tuple[Wanted, ...]
    path: tuple[str, ...]
    longest: float
    bind: bool = False


@frozen(kw_only=True)
class Binding:
    """One cleanup strategy of a profile: whether the backend has the calls it needs."""

    strategy: str
    error: str = ""


@frozen(kw_only=True)
class Finding:
    """What came of trying one plugin.

    `broken` is why its import failed, `missing` the module that it did not find,
    `problems` are misfits with the contract. `model` is the default checkpoint, where the
    adapter tells it. All are empty for a plugin that is fine.
    """

    number: int
    broken: str = ""
    missing: str = ""
    problems: tuple[str, ...] = ()
    profile: MemoryProfile | None = None
    model: str | None = None
    bindings: tuple[Binding, ...] = ()


def encode(value: Any) -> bytes:
    """A record as one line of JSON."""
    return msgspec.json.encode(value) + b"\n"


def decode_job(data: bytes) -> Job:
    """Read a job."""
    return msgspec.json.decode(data, type=Job)


def decode_finding(data: bytes) -> Finding:
    """Read a finding; its strategies come back as `Described`.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return msgspec.json.decode(data, type=Finding, dec_hook=restore)
