"""XLSX: the first sheet of a workbook, its first row the column names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions.table.columns import Columns
from vqa_engine.questions.table.reading import Row
from vqa_engine.questions.table.table_set import Files, Pictures


@frozen
class Sheet:
    """A sheet whose cells hold text, numbers or dates."""

    file: Path
    header: tuple[str, ...]

    @classmethod
    def open(cls, file: Path) -> Sheet:
        """Look at the first row.

        Raises:
            ConfigurationError: openpyxl is not installed.
            QuestionSetError: it cannot be read, or has no first row.
        """
        first = next(_cells(file), ())
        header = tuple(str(name).strip() if name is not None else "" for name in first)
        if not any(header):
            raise QuestionSetError("its first row names no columns", file=file)
        return cls(file, header)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    def rows(self, columns: Columns) -> Iterator[tuple[int, Row]]:
        """As `Table.rows`."""
        for number, cells in enumerate(_cells(self.file), start=1):
            if number > 1 and any(cell is not None for cell in cells):
                yield number, dict(zip(self.header, cells, strict=False))

    def pictures(self, columns: Columns, root: Path) -> Pictures:
        """As `Table.pictures`."""
        return Files(root)


def _cells(file: Path) -> Iterator[tuple[Any, ...]]:
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Reading {file.name} needs openpyxl: pip install 'vqa-engine[xlsx]', "
            "or save the sheet as CSV."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which are not read
            book = load_workbook(file, read_only=True, data_only=True)
            yield from book.worksheets[0].iter_rows(values_only=True)
            book.close()
    except Exception as error:  # a zip of XML from anywhere: the parsers raise anything
        raise QuestionSetError(f"not an XLSX file that can be read: {error}", file=file) from error
