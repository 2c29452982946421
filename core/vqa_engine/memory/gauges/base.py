"""A gauge: one source of memory figures, and how a missing source is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import frozen


@frozen
class Figure:
    """One number that a gauge gives, or the reason why it has none.

    `value` is bytes unless `unit` says otherwise. A source that is not there is
    reported as missing, with the reason; it is never guessed.
    """

    name: str
    value: int | float | None = None
    missing: str = ""
    unit: str = "bytes"

    @property
    def bytes(self) -> int | None:
        """The value as whole bytes, None when it is missing."""
        return None if self.value is None else int(self.value)


class Gauge(Protocol):
    """One source of figures; reading it changes nothing and raises nothing."""

    name: str

    def read(self) -> tuple[Figure, ...]:
        """All its figures now, always the same names in the same order."""


def called(name: str, owner: object, call: str, label: str) -> Figure:
    """The figure that `owner.call()` gives, missing where the library lacks the call."""
    function: Callable[[], int] | None = getattr(owner, call, None)
    if function is None:
        return Figure(name, missing=f"{label}.{call} does not exist in this version")
    return Figure(name, function())


def number_in(file: Path, name: str) -> Figure:
    """The number that a one-number file holds; `max` is a limit that is not set."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError as error:
        return Figure(name, missing=f"{file}: {error.strerror}")
    if not text.isdecimal():
        return Figure(name, missing=f"{file} says {text!r}")
    return Figure(name, int(text))


def counter_in(file: Path, key: str) -> int:
    """The number after `key` in a file of such pairs, 0 where there is none to be read."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux, another version of cgroups, or hidden by a container
        return 0
    pairs = (line.partition(" ") for line in lines)
    return next((int(value) for name, _, value in pairs if name == key), 0)
