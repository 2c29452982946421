"""Reading `ModelRef.options` into an adapter's own record, before anything is loaded."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen, validators

from vqa_engine.adapter import read_options as read

__all__ = ["Wording", "read", "text"]


def text(default: str | None = None) -> Any:
    """A field for an optional text."""
    return field(default=default, validator=validators.optional(validators.instance_of(str)))


@frozen(kw_only=True)
class Wording:
    """The text around a question, as the options of every adapter may give it.

    `instruction` replaces the text appended to each question, and may be empty; None is the
    family's own. `before` goes in front of the question's text. `system` is the
    conversation's system text. `prefill` is the beginning of the answer, which the model goes
    on from; it is no part of the answer's text.
    """

    instruction: str | None = text()
    before: str = text("")
    system: str = text("")
    prefill: str = text("")
