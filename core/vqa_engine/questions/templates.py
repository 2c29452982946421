"""Templates of prompts and file names: `{name}` is replaced, and nothing else is possible."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

from vqa_engine.errors import ConfigurationError


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with each `{name}` replaced by its value; `{{` stands for a brace.

    A format such as `{number:012d}` is allowed, attributes and items are not.

    Raises:
        ConfigurationError: it is no template, or names a value that there is not.
    """
    try:
        return "".join(
            text if name is None else text + format(values[name], form)
            for text, name, form in _parts(template)
        )
    except KeyError as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise ConfigurationError(
            f"The template {template!r} names {{{error.args[0]}}}, which does not exist here; "
            f"use {known}."
        ) from None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"The template {template!r} cannot be filled: {error}.") from None


def names(template: str) -> set[str]:
    """The names that a template uses.

    Raises:
        ConfigurationError: it is no template.
    """
    return {name for _, name, _ in _parts(template) if name is not None}


@lru_cache(maxsize=256)
def _parts(template: str) -> tuple[tuple[str, str | None, str], ...]:
    try:
        parts = tuple(
            (text, name, form or "") for text, name, form, _ in Formatter().parse(template)
        )
    except ValueError as error:
        raise _invalid(template, str(error)) from None
    for _, name, form in parts:
        if name is not None and (not name.replace("-", "_").isidentifier() or "{" in form):
            raise _invalid(template, f"{{{name}}} is not a plain name")
    return parts


def _invalid(template: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The template {template!r} is not valid: {reason}. Write a literal brace twice."
    )
