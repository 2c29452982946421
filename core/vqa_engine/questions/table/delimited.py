"""CSV and TSV: plain, as Excel saves it, and VLMEvalKit's with the images as base64."""

from __future__ import annotations

import base64
import binascii
import codecs
import csv
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from attrs import field, frozen

from vqa_engine.errors import QuestionSetError
from vqa_engine.files import open_regular
from vqa_engine.questions.store import ImageStore
from vqa_engine.questions.table.columns import INDEX, ROTATIONS, Columns
from vqa_engine.questions.table.reading import Row
from vqa_engine.questions.table.table_set import Files, Pictures

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ",;\t|"

_SHORTEST = 64
"""Characters; a shorter image cell is a path or another row's index (VLMEvalKit's rule)."""


@frozen
class Delimited:
    """A text table whose first row names the columns; the separator is that of this row."""

    file: Path
    header: tuple[str, ...]
    separator: str
    _encoding: str
    _store: ImageStore = field(factory=ImageStore)

    @classmethod
    def open(cls, file: Path) -> Delimited:
        """Look at the first row.

        Raises:
            QuestionSetError: it cannot be read, or has no first row.
        """
        encoding = _encoding(file)
        with _opened(file, encoding) as text:
            first, stated = _first(file, text)
            separator = stated or _separator(file, first)
            header = next(csv.reader([first], delimiter=separator), [])
        if not any(name.strip() for name in header):
            raise QuestionSetError("its first row names no columns", file=file)
        return cls(file, tuple(name.strip() for name in header), separator, encoding)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    def rows(self, columns: Columns) -> Iterator[tuple[int, Row]]:
        """As `Table.rows`; base64 images are written to the store as they come."""
        pictures = {one for one in columns.pictures if isinstance(one, str)}
        unpack = _Base64(self._store, pictures & set(self.header))
        for number, cells in self._cells():
            if len(cells) != len(self.header):
                raise QuestionSetError(
                    f"it has {len(cells)} cells, and the first row names {len(self.header)} "
                    "columns; put a cell that holds the separator into quotes",
                    file=self.file,
                    line=number,
                )
            row: dict[str, Any] = dict(zip(self.header, cells, strict=True))
            yield number, unpack(row) if unpack.columns else row

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """As `Table.pictures`; an image that was unpacked has an absolute path of its own."""
        return Files(root) if not self._has_base64() else Files(None, local=False)

    def has_rotations(self) -> bool:
        """Whether rows are rotations of others' choices (MMBench in VLMEvalKit's form).

        A row whose `index` is 1,000,000 · k + n is rotation k of row n.
        """
        if INDEX not in self.header:
            return False
        place = self.header.index(INDEX)
        written = (cells[place] for _, cells in self._cells() if len(cells) > place)
        found = {int(one) for one in written if one.isascii() and one.isdigit()}
        turned = {one for one in found if one >= ROTATIONS}
        return bool(turned) and {one % ROTATIONS for one in turned} <= found

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(sys.maxsize)  # a base64 picture is one cell
        with _opened(self.file, self._encoding) as text:
            _, stated = _first(self.file, text)
            skipped = 1 if stated else 0
            text.seek(0)
            for _ in range(skipped):
                text.readline()
            reader = csv.reader(text, delimiter=self.separator)
            try:
                next(reader)
                for cells in reader:
                    if any(cells):
                        yield reader.line_num + skipped, cells
            except UnicodeDecodeError as error:
                raise _not_utf8(self.file) from error
            except csv.Error as error:
                raise QuestionSetError(
                    f"not a table: {error}", file=self.file, line=reader.line_num + skipped
                ) from error

    def _has_base64(self) -> bool:
        for _, cells in self._cells():
            return any(_is_base64(cell) for cell in cells)
        return False


@frozen
class _Base64:
    """Replaces base64 images by the path of the file they were written to.

    A cell may hold the index of another row instead, whose image it shares.
    """

    _store: ImageStore
    columns: set[str]
    _by_index: dict[str, str] = field(factory=dict)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        for column in self.columns:
            row[column] = self._path(row[column], row.get(INDEX))
        return row

    def _path(self, cell: str, index: str | None) -> str:
        if not _is_base64(cell):
            return self._by_index.get(cell.strip(), cell)
        path = str(self._store.path(self._store.put(_decoded(cell))))
        if index is not None:
            self._by_index[index.strip()] = path
        return path


def _is_base64(cell: str) -> bool:
    """Whether a cell holds an encoded file; JPEG, PNG, GIF, WebP and BMP begin like this."""
    return len(cell) >= _SHORTEST and cell.startswith(("/9j/", "iVBOR", "R0lGOD", "UklGR", "Qk"))


def _decoded(cell: str) -> bytes:
    try:
        return base64.b64decode(cell, validate=True)
    except binascii.Error as error:
        raise QuestionSetError(f"its image is not valid base64: {error}") from error


def _encoding(file: Path) -> str:
    try:
        with open_regular(file) as raw:
            start = raw.read(4)
    except OSError as error:
        raise QuestionSetError(f"it cannot be read: {error.strerror}", file=file) from error
    return next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")


def _opened(file: Path, encoding: str) -> TextIOWrapper:
    try:
        return TextIOWrapper(open_regular(file), encoding=encoding, newline="")
    except OSError as error:
        raise QuestionSetError(f"it cannot be read: {error.strerror}", file=file) from error


def _first(file: Path, text: TextIO) -> tuple[str, str]:
    """The row of names, and the separator if Excel states it in a row `sep=;` before."""
    try:
        first = text.readline()
        if first.lower().startswith("sep=") and len(first.rstrip("\r\n")) == 5:
            return text.readline(), first[4]
        return first, ""
    except UnicodeDecodeError as error:
        raise _not_utf8(file) from error


def _separator(file: Path, first: str) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"
    return max(_SEPARATORS, key=first.count)


def _not_utf8(file: Path) -> QuestionSetError:
    return QuestionSetError(
        "it is not UTF-8 text; in Excel, save it as 'CSV UTF-8 (comma delimited)'", file=file
    )
