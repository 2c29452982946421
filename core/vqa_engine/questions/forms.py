"""The engine's own question sets and formats, as the entry points name them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.source import Source
from vqa_engine.questions.table.columns import Columns, guessed, rotated
from vqa_engine.questions.table.json_items import KEY
from vqa_engine.questions.table.table_set import Table, TableSet

log = logging.getLogger(__name__)

SHOWN = 5
"""Unused columns that a warning names."""

_SHAPES_OPTIONS = ("seed", "count")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


def shapes(source: Source) -> QuestionSet:
    """The built-in questions about drawn shapes.

    Raises:
        ConfigurationError: an option is wrong.
    """
    # the drawing code is needed for this one set only
    from vqa_engine.questions.shapes import ShapesSet

    source.refuse(
        "shapes", annotations=source.annotations, images=source.images, columns=source.columns
    )
    return ShapesSet(**{name: _number(name, value) for name, value in source.pairs().items()})


def json_lines(source: Source) -> QuestionSet:
    """A file with one question a line.

    Raises:
        ConfigurationError: annotations were given, and it holds its own.
        QuestionSetError: the file is broken.
    """
    from vqa_engine.questions.jsonl import JsonLines

    source.refuse("a .jsonl file", annotations=source.annotations, columns=source.columns)
    return JsonLines.load(source.file, source.folder)


def json(source: Source) -> QuestionSet:
    """A JSON file: the VQA v2 pair, another benchmark's file as published, or an array.

    POPE's files are named so and have one question a line, and are read as such.

    Raises:
        ConfigurationError: annotations do not go with it, or no column is the image.
        QuestionSetError: a file is broken.
    """
    from vqa_engine.questions.raw_json import is_lines
    from vqa_engine.questions.table.json_items import Items
    from vqa_engine.questions.table.official import recognised
    from vqa_engine.questions.vqa_v2 import VqaV2

    if not source.annotations and is_lines(source.file):
        return json_lines(source)
    items = None if source.annotations else Items.open(source.file)
    if items is None or items.where == "questions":
        source.refuse("a VQA v2 questions file", columns=source.columns)
        return VqaV2.load(source.file, source.annotations, source.folder)
    first = items.first()
    form = None if source.columns else recognised(first)
    if form is not None:
        return TableSet.load(items, form.columns, source.folder, form.keep)
    return TableSet.load(items, _named(source, first), source.folder)


def delimited(source: Source) -> QuestionSet:
    """A CSV or TSV file whose first row names the columns.

    The rotations of a question in VLMEvalKit's files, such as MMBench's, are one group.

    Raises:
        ConfigurationError: no column is the image or the question.
        QuestionSetError: the file is broken.
    """
    from vqa_engine.questions.table.delimited import Delimited

    table = Delimited.open(source.file)
    columns = _columns(source, table)
    if columns.choices and table.has_rotations():
        columns = rotated(columns)
    return TableSet.load(table, columns, source.folder)


def sheet(source: Source) -> QuestionSet:
    """An XLSX workbook's first sheet, whose first row names the columns.

    Raises:
        ConfigurationError: as `delimited`; also when openpyxl is not installed.
        QuestionSetError: the file is broken.
    """
    from vqa_engine.questions.table.sheet import Sheet

    return _table(source, Sheet.open(source.file))


def parquet(source: Source) -> QuestionSet:
    """A parquet file.

    Raises:
        ConfigurationError: as `delimited`; also when pyarrow is not installed.
        QuestionSetError: the file is broken.
    """
    from vqa_engine.questions.table.parquet import Parquet

    return _table(source, Parquet.open([source.file]))


def _table(source: Source, table: Table) -> QuestionSet:
    return TableSet.load(table, _columns(source, table), source.folder)


def _columns(source: Source, table: Table) -> Columns:
    """As `_named`, of a table."""
    source.refuse(f"a {source.file.suffix} file", annotations=source.annotations)
    return _named(source, table.header or ())


def _named(source: Source, header: Iterable[str]) -> Columns:
    """The columns of a table by their names; a warning names those that say nothing."""
    known = [name for name in header if name != KEY]
    columns = guessed(known, source.columns)
    unused = [name for name in known if name.strip() and name not in columns.names()]
    if unused:
        more = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
        log.warning(
            "%s: not used: the %s %s%s (--columns PART=COLUMN says what a column is)",
            *(source.file.name, "column" if len(unused) == 1 else "columns"),
            *(", ".join(map(repr, unused[:SHOWN])), more),
        )
    return columns


def _number(option: str, value: str) -> int:
    if option not in _SHAPES_OPTIONS or not _WHOLE_NUMBER.fullmatch(value):
        given = f"{option}={value}" if value else option
        raise ConfigurationError(
            f"{given!r} is not an option of the shapes questions; the options are "
            f"{' and '.join(_SHAPES_OPTIONS)}, whole numbers, as in 'shapes:seed=3,count=500'."
        )
    return int(value)
