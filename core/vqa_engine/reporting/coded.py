"""Columns that keep each different value once, and the packed form that the page reads.

A run repeats itself: few answers, types, plans and scores, and figures of three digits. A
column of codes into its own values is small in memory, smaller still compressed, and quick to
filter: a text is searched once for each value, not for each row.
"""

from __future__ import annotations

import gzip
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

_WIDTHS = (("B", 1 << 8), ("H", 1 << 16), ("I", 1 << 32))
_ALIGNMENT = 4


@define
class Column:
    """Values by place, from 0; a place that was never set holds None."""

    values: list[Any] = field(factory=lambda: [None])
    codes: array[int] = field(factory=lambda: array("I"))
    _known: dict[Any, int] = field(factory=lambda: {None: 0})

    def put(self, place: int, value: Any) -> None:
        """Set the value of a place; places in between are None until they are set."""
        code = self._known.get(value)
        if code is None:
            code = self._known[value] = len(self.values)
            self.values.append(value)
        codes = self.codes
        if place == len(codes):
            codes.append(code)
            return
        self.reach(place + 1)
        codes[place] = code

    def reach(self, count: int) -> None:
        """Have at least this many places."""
        missing = count - len(self.codes)
        if missing > 0:
            self.codes.extend(array("I", bytes(missing * self.codes.itemsize)))

    def at(self, place: int) -> Any:
        """The value of a place."""
        return self.values[self.codes[place]]

    def __contains__(self, value: object) -> bool:
        """Whether a place holds the value, or has held it."""
        return value in self._known

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes)

    def counted(self) -> dict[Any, int]:
        """How many places hold each value, in the order the values came."""
        counts = Counter(self.codes)
        return {self.values[code]: counts[code] for code in sorted(counts)}


@define
class Lists:
    """A list of values at each place, kept flat: how many, then the values one after another."""

    lengths: Column = field(factory=Column)
    items: Column = field(factory=Column)
    weights: Column = field(factory=Column)

    def append(self, place: int, weighed: Mapping[str, int]) -> None:
        """The values of the next place, each with its weight."""
        self.lengths.put(place, len(weighed))
        for value, weight in weighed.items():
            self.items.put(len(self.items.codes), value)
            self.weights.put(len(self.weights.codes), weight)

    def columns(self, name: str) -> dict[str, Column]:
        """The three columns under names that begin with `name`."""
        return {f"{name}.{part}": getattr(self, part) for part in ("lengths", "items", "weights")}


def significant(figure: float | None, digits: int = 3) -> float | int | None:
    """The figure to a few significant digits: enough for a reader, and few different values."""
    if figure is None:
        return None
    rounded = float(f"{figure:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def packed(columns: Mapping[str, Column], facts: Mapping[str, Any], level: int = 6) -> bytes:
    """Columns and facts as one block, compressed by gzip's `level`; `data.js` has the other half.

    Uncompressed it is the length of a JSON header (4 bytes, little-endian), the header, and
    the codes of each column, each part filled to a multiple of 4 bytes. The header holds the
    facts and, for each column, its values, the width of its codes in bytes and their count;
    a column whose codes only count up has no codes in the block, and width 0.
    """
    header: dict[str, Any] = {}
    blocks: list[bytes] = []
    for name, column in columns.items():
        width, block = _block(column)
        header[name] = {"values": column.values, "width": width, "count": len(column.codes)}
        blocks.append(_filled(block))
    text = _filled(_encode({**facts, "columns": header}), b" ")
    return gzip.compress(b"".join((len(text).to_bytes(4, "little"), text, *blocks)), level, mtime=0)


def _encode(value: object) -> bytes:
    """JSON, in which msgspec writes what is not a number as null."""
    encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
    return encode(value)


def _block(column: Column) -> tuple[int, bytes]:
    codes = column.codes
    if len(codes) + 1 == len(column.values) and all(
        code == place for place, code in enumerate(codes, start=1)
    ):
        return 0, b""
    form = next(form for form, limit in _WIDTHS if len(column.values) <= limit)
    narrow = array(form, codes)
    if sys.byteorder == "big":
        narrow.byteswap()
    return narrow.itemsize, narrow.tobytes()


def _filled(block: bytes, filler: bytes = b"\0") -> bytes:
    return block + filler * (-len(block) % _ALIGNMENT)
