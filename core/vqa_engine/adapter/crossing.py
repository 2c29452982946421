"""What crosses the contract, checked and made plain in one place, in whichever process.

An adapter is anybody's code. What it raises becomes an exception that can be caught and
shown, and what it returns a record of plain values, or an error that says where it misfits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar, cast

import msgspec
from attrs import fields, has, validate

T = TypeVar("T")

_LONGEST = 10_000
"""Characters of an exception's text; an adapter may put an image into it."""


def called(call: Callable[..., T], /, *arguments: object) -> T:
    """Call into somebody's code.

    Raises:
        KeyboardInterrupt: somebody wants this process to stop.
        Exception: whatever else was raised; what is no `Exception`, or has no text that can
            be read, comes as a RuntimeError that names it.
    """
    try:
        return call(*arguments)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        if _speaks(error):
            raise
        raise RuntimeError(f"{_name(error)}, whose text cannot be read") from error
    except BaseException as error:
        raise RuntimeError(f"{_name(error)}: {said(error)}") from error


def plain(kind: type[T], value: object) -> T:
    """The record with plain values only: numbers of other libraries are Python's afterwards,
    subclasses of text are text.

    Raises:
        TypeError: it is no such record, or a field of it does not fit.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__}, not {_named(kind)} record")
    try:
        made: T = _reader(kind)(_written(_fields(value)))  # type: ignore[arg-type]  # it is hashable
        if has(kind):
            validate(cast("Any", made))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        wrong = f"{_named(kind)} record that does not fit: {said(error)}"
        raise TypeError(wrong) from error
    return made


def said(error: BaseException) -> str:
    """An exception's text, whatever its `__str__` does."""
    try:
        return str(error)[:_LONGEST].encode("utf-8", "backslashreplace").decode()
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  anybody's `__str__` may raise anything
        return "its text cannot be read"


def plain_value(value: Any) -> object:
    """An `enc_hook` for msgspec: an adapter may give NumPy or MLX numbers, or subclasses.

    What is no data at all crosses as its `repr`.
    """
    for kind, convert in _SUBCLASSES:
        if isinstance(value, kind):
            return convert(value)
    if has(type(value)):
        return _fields(value)
    for name in ("tolist", "__index__", "__float__"):
        if hasattr(value, name):
            return getattr(value, name)()
    return repr(value)


_SUBCLASSES: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__pos__),
    (float, float.__pos__),
    (bytes, bytes),
    (Mapping, dict),
    (tuple | list | set | frozenset, list),
    (PurePath, str),
)


def _fields(value: object) -> object:
    """A record by the fields of its class, so that a subclass is what it extends."""
    kind: Any = type(value)
    return {one.name: getattr(value, one.name) for one in fields(kind)} if has(kind) else value


_written = msgspec.msgpack.Encoder(enc_hook=plain_value).encode


@cache
def _reader(kind: type) -> Callable[[bytes], Any]:
    return msgspec.msgpack.Decoder(kind).decode


def _speaks(error: Exception) -> bool:
    try:
        str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  as in `said`
        return False
    return True


def _named(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _name(error: BaseException) -> str:
    return type(error).__name__
