"""An exception of the child, raised again in the host as what it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from vqa_engine.errors import VqaEngineError, WorkerError
from vqa_engine.failures import NOT_A_MODELS, describe, traced
from vqa_engine.results import Note
from vqa_engine.worker.messages import Refused


def refusal(error: Exception, notes: tuple[Note, ...] = ()) -> Refused:
    """An exception as a message; the facts of an error of ours go along."""
    failure, ours = describe(error), isinstance(error, VqaEngineError)
    return Refused(
        kind=type(error).__name__ if ours else "",
        message=failure.message,
        cause=failure.cause,
        facts=vars(error) if ours else {},
        detail=traced(error),
        notes=notes,
    )


def raised_again(
    refused: Refused, label: str, what: str = "could not load its model"
) -> VqaEngineError:
    """The exception to raise in the host.

    One of ours comes back as its own class with the same text and attributes, so that
    nobody above can tell a worker from an inline session. Any other is a `WorkerError`, which
    says `what` the adapter did.
    """
    kind = next((k for k in _kinds(VqaEngineError) if k.__name__ == refused.kind), None)
    if kind is None or issubclass(kind, NOT_A_MODELS) or not _has_facts(kind, refused.facts):
        message = f"The adapter {label!r} {what}: {refused.message}"
        return WorkerError(message, label=label, cause=refused.cause, detail=refused.detail)
    # Not through __init__: its arguments are not the message.
    error = kind.__new__(kind, refused.message)
    error.__dict__.update({name: _plain(value) for name, value in refused.facts.items()})
    return error


def _has_facts(kind: type[VqaEngineError], facts: Mapping[str, Any]) -> bool:
    """Whether the attributes are those that an error of this kind has, and plain."""
    wanted = {name for name in inspect.signature(kind.__init__).parameters if name not in _IN_TEXT}
    plain = all(isinstance(one, str | int | float | list | None) for one in facts.values())
    texts = all(isinstance(facts.get(name, ""), str) for name in ("detail", "reason", "cause"))
    return plain and texts and wanted <= facts.keys()


_IN_TEXT = frozenset({"self", "message", "reason", "remedy", "text", "args", "kwargs"})
"""Arguments of our errors that some keep in their text only."""


def _kinds(root: type[VqaEngineError]) -> Iterator[type[VqaEngineError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


def _plain(value: Any) -> Any:
    """msgpack has one kind of sequence, and every sequence of an error is a tuple."""
    return tuple(_plain(item) for item in value) if isinstance(value, list) else value
