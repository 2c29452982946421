"""An adapter's own options: read into its record and checked, before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from attrs import AttrsInstance, fields

from vqa_engine.errors import ConfigurationError

Options = TypeVar("Options", bound=AttrsInstance)


def read_options(
    kind: type[Options], given: Mapping[str, Any], secret: Collection[str] = ()
) -> Options:
    """The options that a caller gave (`ModelRef.options`), as the attrs class `kind`.

    The command line gives them all as text, so a field that is no text needs a converter. An
    adapter that has the class as its attribute `options` has them listed by
    `vqa-engine adapters NAME`.

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
        except Exception as error:  # noqa: BLE001  a converter of anybody's
            reason = "" if name in secret else f": {_said(error)}"
            raise ConfigurationError(f"The model option {name} is not valid{reason}.") from None
    return kind(**given)


def _said(error: Exception) -> str:
    """What the error says: attrs gives its validators' more arguments than the sentence."""
    return " ".join(str(error.args[0] if error.args else type(error).__name__).split())[:300]
