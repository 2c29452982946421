"""Columns keep what they are given, in memory and packed."""

from __future__ import annotations

import gzip
import json
from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.reporting.coded import Column, Lists, packed, significant

values = st.none() | st.text(max_size=4) | st.integers(-(2**40), 2**40) | st.booleans()


def unpacked(block: bytes) -> dict[str, list[Any]]:
    """What the page's script makes of a packed block."""
    raw = gzip.decompress(block)
    size = int.from_bytes(raw[:4], "little")
    header, at = json.loads(raw[4 : 4 + size]), 4 + size
    found = {}
    for name, column in header["columns"].items():
        width, count = column["width"], column["count"]
        form = {1: "B", 2: "H", 4: "I"}.get(width)
        end = at + width * count
        codes = array(form, raw[at:end]) if form else range(1, count + 1)
        found[name] = [column["values"][code] for code in codes]
        at = end + -end % 4
    return found


def filled(given: list[Any]) -> Column:
    column = Column()
    for place, value in enumerate(given):
        column.put(place, value)
    return column


@given(st.lists(st.lists(values, max_size=8), max_size=4))
def test_packed_columns_are_what_went_in(given: list[list[Any]]) -> None:
    columns = {str(number): filled(one) for number, one in enumerate(given)}
    found = unpacked(packed(columns, {}))
    assert [*found.values()] == given
    assert [list(column) for column in columns.values()] == given


def test_many_different_values_are_coded_in_as_many_bytes_as_they_need() -> None:
    for count, width in ((200, 1), (60_000, 2), (70_000, 4)):
        column = filled([*range(count), 0])
        block = packed({"a": column}, {})
        assert f'"width":{width}'.encode() in gzip.decompress(block)
        assert unpacked(block)["a"] == [*range(count), 0]


def test_a_column_of_different_values_needs_no_codes() -> None:
    texts = [f"question {number}" for number in range(300)]
    block = packed({"a": filled(texts)}, {})
    assert b'"width":0' in gzip.decompress(block)
    assert unpacked(block)["a"] == texts


def test_places_may_be_set_in_any_order() -> None:
    column = Column()
    for place, value in ((2, "c"), (0, "a"), (3, "c")):
        column.put(place, value)
    assert list(column) == ["a", None, "c", "c"]
    assert column.at(2) == "c"


def test_lists_are_kept_flat_with_their_weights() -> None:
    lists = Lists()
    lists.append(0, {"yes": 9, "no": 1})
    lists.append(1, {})
    lists.append(2, {"no": 3})
    assert [*lists.lengths] == [2, 0, 1]
    assert [*lists.items] == ["yes", "no", "no"]
    assert [*lists.weights] == [9, 1, 3]


def test_figures_keep_three_digits() -> None:
    assert [significant(one) for one in (None, 0, 1234.5, 0.012345)] == [None, 0, 1230, 0.0123]
