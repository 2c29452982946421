"""JSON files of questions: an array of objects, an object of them, or either below `data`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from attrs import field, frozen

from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.raw_json import read_object
from vqa_engine.questions.table.columns import Columns
from vqa_engine.questions.table.reading import Row
from vqa_engine.questions.table.table_set import Files, Pictures

KEY = "_key"
"""The column for the name of an item in an object of items."""

VQA_V2 = frozenset(("questions", "annotations"))
"""The lists by which one of VQA v2's files is recognised; `vqa_v2` reads those."""

_Top = list[msgspec.Raw] | dict[str, msgspec.Raw]


@frozen
class Items:
    """The items of a file, undecoded; each is decoded when its row is asked for."""

    file: Path
    keys: tuple[str, ...] = field(repr=False)
    _items: Sequence[msgspec.Raw] = field(repr=False)
    where: str = ""
    """The name of the list in the file's object: `data`, or `questions` in VQA v2's."""
    header: tuple[str, ...] | None = None

    @classmethod
    def open(cls, file: Path) -> Items:
        """Read the file.

        Raises:
            QuestionSetError: it cannot be read, is not JSON, or holds no items.
        """
        top: _Top = read_object(file, _Top, "a JSON file of questions")  # type: ignore[arg-type]
        if isinstance(top, dict) and not VQA_V2.isdisjoint(top):
            return cls(file, (), (), "questions")
        where = "data" if "data" in top else ""
        if where and isinstance(top, dict):
            top = _inner(file, top[where], where)
        items = list(top.values()) if isinstance(top, dict) else top
        if not items:
            raise QuestionSetError("it holds no question", file=file)
        return cls(file, tuple(top) if isinstance(top, dict) else (), items, where)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    def first(self) -> Row:
        """The first row, by which a file is recognised.

        Raises:
            QuestionSetError: it is not an object.
        """
        return next(iter(self.rows(None)))[1]

    def rows(self, columns: Columns | None) -> Iterator[tuple[int, Row]]:
        """As `Table.rows`; the number is the item's place, from 1."""
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for place, item in enumerate(self._items):
            try:
                row = decode(item)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                where = f"{self.where}[{place}]"
                raise QuestionSetError(
                    f"{where}: not a question: {error}", file=self.file
                ) from error
            yield place + 1, {**row, KEY: self.keys[place]} if self.keys else row

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """As `Table.pictures`."""
        return Files(root)


def _inner(file: Path, raw: msgspec.Raw, where: str) -> _Top:
    try:
        found: _Top = msgspec.json.decode(raw, type=_Top)
    except msgspec.ValidationError as error:
        raise QuestionSetError(f"{where}: {error}", file=file) from error
    return found
