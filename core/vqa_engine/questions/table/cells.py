"""Reading a cell: what tables write for ids, answers, choices and the right one."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import msgspec

from vqa_engine.adapter import QuestionId
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions import templates
from vqa_engine.questions.table.columns import Cell, Derived

_LETTER = re.compile(r"\(?([A-Z])\)?\.?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(?:\.0+)?")
_DEEPEST = 1000
"""Characters of brackets; `ast.literal_eval` can exhaust the C stack on more."""


def cell(row: Mapping[str, Any], wanted: Cell) -> Any:
    """The value of a column in a row; of a template, the text.

    Raises:
        QuestionSetError: there is no such column, or its value cannot be computed with.
        ConfigurationError: it is no valid template.
    """
    if isinstance(wanted, str):
        return templates.fill(wanted, row) if "{" in wanted else _value(row, wanted)
    value = _value(row, wanted.column)
    if value is None or (wanted.modulo is None and wanted.divide is None):
        return value
    number = whole(value)
    if number is None:
        raise QuestionSetError(f"{wanted.column} is {value!r}, which is not a whole number")
    number = number if wanted.modulo is None else number % wanted.modulo
    return number if wanted.divide is None else number // wanted.divide


def optional(row: Mapping[str, Any], wanted: Cell) -> Any:
    """As `cell`, but None for a column that a row does not have."""
    if isinstance(wanted, str):
        return row.get(wanted) if "{" not in wanted else cell(row, wanted)
    return cell(row, wanted) if wanted.column in row else None


def text(value: object) -> str | None:
    """A cell as text; None for an empty one. A number without a fraction has no point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list):
        return ", ".join(texts(value)) or None
    return _number(value) if isinstance(value, bool | float) else str(value)


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)


def whole(value: object) -> int | None:
    """A whole number, or None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    written = text(value)
    if written is None or not _WHOLE.fullmatch(written.strip()):
        return None
    return int(written.strip().partition(".")[0])


def identity(value: object, wanted: Cell) -> QuestionId | None:
    """A cell as an id: numbers stay numbers, text is text unless it is wanted `as` int."""
    if isinstance(wanted, Derived) and wanted.form == "int":
        number = whole(value)
        if number is None:
            raise QuestionSetError(f"{wanted.column} is {value!r}, which is not a whole number")
        return number
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return text(value)


def texts(value: object, notation: str | None = None) -> tuple[str, ...]:
    """A cell with any number of texts: a list, a list as text, objects with `answer`, one text."""
    if isinstance(value, str):
        listed = None if notation is None else _listed(value, notation)
        if listed is not None:
            return texts(listed)
        return (value,) if value.strip() else ()
    if isinstance(value, dict):
        return texts(value.get("answer"))
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        found: list[str] = []
        for item in value:
            found += texts(item)
        return tuple(found)
    single = text(value)
    return () if single is None else (single,)


def right(value: object, wanted: Cell, choices: Sequence[str]) -> int | None:
    """The index of the right choice, from however it is written; None for an empty cell.

    A number counts from 0, a letter from A; else it is the text of one choice.

    Raises:
        QuestionSetError: it means no choice, or several.
    """
    given = text(value)
    if given is None:
        return None
    form = wanted.form if isinstance(wanted, Derived) else None
    readers: dict[str, Callable[[], int | None]] = {
        "index": lambda: whole(value),
        "letter": lambda: _letter(given, len(choices)),
        "text": lambda: _place(given, choices),
    }
    written = ["index", "text"] if isinstance(value, int) else ["letter", "text"]
    for reader in [form] if form in readers else written:
        found = readers[reader]()
        if found is not None and 0 <= found < len(choices):
            return found
    todo = '. Write choices in columns A, B, … or as a list: ["red", "blue"]'
    raise QuestionSetError(
        f"its right choice is {value!r}, and its choices are {list(choices)}"
        + (todo if len(choices) == 1 else "")
    )


def _letter(written: str, count: int) -> int | None:
    match = _LETTER.fullmatch(written.strip())
    found = ascii_uppercase.index(match[1]) if match else count
    return found if found < count else None


def _place(written: str, choices: Sequence[str]) -> int | None:
    places = [place for place, choice in enumerate(choices) if choice.strip() == written.strip()]
    return places[0] if len(places) == 1 else None


def _value(row: Mapping[str, Any], column: str) -> Any:
    try:
        return row[column]
    except KeyError:
        known = ", ".join(map(repr, row)) or "none"
        raise QuestionSetError(f"there is no column {column!r}; the columns are {known}") from None


def _listed(value: str, notation: str) -> object:
    """What a list as text holds, None if it is no list."""
    if notation != "literal":
        return [part.strip() for part in value.split(notation)]
    stripped = value.strip()
    brackets = stripped.count("[") + stripped.count("(") + stripped.count("{")
    if not stripped.startswith("[") or brackets > _DEEPEST:
        return None
    try:
        found = msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        found = _literal(stripped)
    return found if isinstance(found, list) else None


def _literal(value: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
