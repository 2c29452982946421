"""Servants: classes of ours that hold a plugin's object in a worker, and are called from the host.

What crosses is what the annotations of a servant's methods say. `vqa_engine.worker.plugin` is
the host's side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw, msgpack

from vqa_engine.adapter.crossing import said
from vqa_engine.errors import VqaEngineError
from vqa_engine.failures import traced
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import Note
from vqa_engine.worker.messages import Call, Make, Refused, encode_to_host, extension, restored

_LONGEST = 500
"""Characters of a reason."""


def name_of(kind: type) -> str:
    """What `Make` calls a servant."""
    return f"{kind.__module__}:{kind.__qualname__}"


def made(message: Make) -> object:
    """The servant that a message asks for; raises whatever the plugin raises."""
    module, _, name = message.servant.partition(":")
    kind: Callable[..., object] = getattr(import_module(module), name)
    return kind(*_arguments(kind.__init__, message.arguments))


def answer(servant: object, message: Call) -> bytes:
    """What a method gives, written as its annotation says; raises whatever the plugin raises."""
    method = getattr(type(servant), message.method)
    return written(method(servant, *_arguments(method, message.arguments)))


def refusal(error: Exception, notes: tuple[Note, ...] = ()) -> Refused:
    """What a plugin raised, as a message: the text of an error of ours, type and text of others."""
    ours = isinstance(error, VqaEngineError)
    return Refused(
        kind=type(error).__name__ if ours else "",
        message=said(error) if ours else brief(error),
        cause="adapter",
        facts={},
        detail=traced(error),
        notes=notes,
    )


def brief(error: BaseException) -> str:
    """What somebody's code raised, in a line that a table can show."""
    return reason(error)[:_LONGEST]


def written(value: object) -> bytes:
    """Arguments or a result as they cross; text that is no Unicode crosses with escapes."""
    try:
        return encode_to_host(value)
    except UnicodeEncodeError:
        return encode_to_host(_unicode(msgspec.to_builtins(value, builtin_types=(bytes, Raw))))


def read(method: Callable[..., Any], data: bytes) -> Any:
    """The result of a method.

    Raises:
        msgspec.DecodeError: it is not what the annotation says.
    """
    return _decoder(method, "return").decode(data)


def _arguments(method: Callable[..., Any], data: Raw) -> tuple[Any, ...]:
    values: tuple[Any, ...] = _decoder(method, "arguments").decode(data)
    return values


@cache
def _decoder(method: Callable[..., Any], what: str) -> msgpack.Decoder[Any]:
    hints = get_type_hints(method)
    result = hints.pop("return", None)
    arguments = tuple.__class_getitem__(tuple(hints.values()) or ())
    kind: Any = result if what == "return" else arguments
    return msgpack.Decoder(kind, ext_hook=extension, dec_hook=restored)


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_unicode(key): _unicode(one) for key, one in value.items()}
    return [_unicode(one) for one in value] if isinstance(value, list | tuple) else value
