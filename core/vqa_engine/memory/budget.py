"""How much a model may hold: the backend's own figure, not the machine's RAM."""

from __future__ import annotations

import re
from math import inf

from attrs import frozen

from vqa_engine.errors import ConfigurationError
from vqa_engine.memory.backend import MemoryBackend
from vqa_engine.memory.backends import load
from vqa_engine.memory.gauges import Figure, System

_MIB = 1 << 20

_RESERVE = 0.10
"""Share of the figure that is left alone. MLX starts to collect when it holds 0.95 of the
working set (docs/facts/memory.md, "MLX memory API"); we want to act before it does."""

_LEAST_RESERVE = 256 * _MIB
"""Bytes kept free on a small machine, for the interpreter and the current image."""

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE | re.ASCII)


@frozen
class Budget:
    """Bytes that the backend may hold, and where the figure comes from.

    `limit` is None when no source gives one; then nothing is refused.
    """

    limit: int | None
    source: str

    def __str__(self) -> str:
        return f"{shown(self.limit)} ({self.source})"


def parse_size(text: str) -> int:
    """Bytes from "6GiB", "512 MB" or "1048576"; KiB is 1024 bytes, KB is 1000.

    Raises:
        ConfigurationError: it is not a size, or it is zero.
    """
    match = _SIZE.fullmatch(text)
    size = 0.0
    if match:
        number, prefix, binary = match.groups()
        size = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    if not 1 <= size < inf:
        raise ConfigurationError(f"{text!r} is not a valid size. Write it like 6GiB or 800MB.")
    return int(size)


def shown(size: int | None) -> str:
    """A size for reading: "1.5 GiB", "unknown" for None."""
    if size is None:
        return "unknown"
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def budget(backend: MemoryBackend, system: System, override: int | None = None) -> Budget:
    """What the backend may hold on this machine now.

    The caller's figure, else the device's less a reserve; in both cases no more than
    what the backend holds already and what is left: of the device's memory where it has
    some of its own, else of the system's.
    """
    own = Budget(override, "given") if override else _device(backend.limit())
    free = backend.free()
    left = system.left() if free.bytes is None else free
    return _least(own, _rest(left, backend.read_held()))


def expected(backend: str, system: System, override: int | None = None) -> Budget:
    """The budget of a process that has not started yet, without its library.

    Raises:
        BackendError: no backend of this name can be used.
    """
    given = Budget(override, "given")
    own = given if override else _device(load(backend).expected_limit())
    return _least(own, _rest(system.left(), 0))


def _device(figure: Figure) -> Budget:
    if figure.bytes is None:
        return Budget(None, figure.missing)
    return Budget(_less_reserve(figure.bytes), f"{figure.name} less a reserve")


def _rest(left: Figure, held: int) -> Budget:
    if left.bytes is None:
        return Budget(None, left.missing)
    return Budget(held + _less_reserve(left.bytes), f"{left.name} less a reserve")


def _least(own: Budget, system: Budget) -> Budget:
    if own.limit is None or system.limit is None:
        return own if own.limit is not None else system
    return min(own, system, key=lambda one: one.limit or 0)


def _less_reserve(size: int) -> int:
    return max(0, size - max(round(size * _RESERVE), _LEAST_RESERVE))
