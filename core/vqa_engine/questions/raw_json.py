"""Reading one big JSON file: the outer object first, its items one by one, errors located."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from vqa_engine.errors import QuestionSetError
from vqa_engine.files import open_regular

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_LONGEST_LINE = 1 << 20
"""Bytes of a first line that are looked at; a whole set on one line is longer."""

_BYTE = re.compile(r"\(byte (\d+)\)")


class _Named(msgspec.Struct):
    question_id: int | str


def read_object(path: Path, form: type[T], what: str = "a VQA v2 file") -> T:
    """Decode a file's outer object; fields of type `msgspec.Raw` are left for later.

    Raises:
        QuestionSetError: it cannot be read, is not JSON (the line is named) or is not of
            this form.
    """
    try:
        with open_regular(path) as file:
            data = file.read().removeprefix(_BOM)
    except OSError as error:
        raise QuestionSetError(f"it cannot be read: {error.strerror}", file=path) from error
    try:
        return msgspec.json.decode(data, type=form)
    except msgspec.ValidationError as error:
        raise QuestionSetError(f"not {what}: {error}", file=path) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        line = _line(data, str(error))
        raise QuestionSetError(f"invalid JSON: {error}", file=path, line=line) from error


def decoded(path: Path, key: str, items: Sequence[msgspec.Raw], form: type[T]) -> Iterator[T]:
    """Decode the items of the list under `key` one by one.

    Raises:
        QuestionSetError: an item is not of this form; its place and its id are named.
    """
    decoder = msgspec.json.Decoder(form)
    for place, item in enumerate(items):
        try:
            yield decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise QuestionSetError(
                f"{key}[{place}]: {error}", file=path, question_id=_id(item)
            ) from error


def is_lines(path: Path) -> bool:
    """Whether a file has one object a line; False where it cannot be read."""
    try:
        with open_regular(path) as file:
            first, more = file.readline(_LONGEST_LINE).removeprefix(_BOM), file.readline(2)
            msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return more.startswith(b"{")


def _line(data: bytes, message: str) -> int:
    """The line, from 1, of the byte that msgspec's message names; the last one without."""
    found = _BYTE.search(message)
    return data.count(b"\n", 0, int(found[1]) if found else len(data.rstrip())) + 1


def _id(item: msgspec.Raw) -> int | str | None:
    """The broken item's question id, if that much can be read."""
    try:
        return msgspec.json.decode(item, type=_Named).question_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
