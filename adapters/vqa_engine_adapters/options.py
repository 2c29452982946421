"""Reading `ModelRef.options` into an adapter's own record, before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from attrs import AttrsInstance, field, fields, frozen, validators

from vqa_engine.errors import ConfigurationError

Options = TypeVar("Options", bound=AttrsInstance)


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


def read(kind: type[Options], given: Mapping[str, Any], secret: Collection[str] = ()) -> Options:
    """The options that a caller gave; the command line gives them all as text.

    The values of the `secret` ones appear in no message: somebody may have put a key there.

    Raises:
        ConfigurationError: one is unknown or has an invalid value; the text names it.
    """
    known = tuple(attribute.name for attribute in fields(kind))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigurationError(
            f"Unknown model option {', '.join(unknown)}; known: {', '.join(known)}."
        )
    for name, value in given.items():
        try:
            kind(**{name: value})
        except (ValueError, TypeError) as error:
            reason = "" if name in secret else f": {error.args[0]}"
            raise ConfigurationError(f"The model option {name} is not valid{reason}.") from None
    return kind(**given)
