"""What `ModelRef.options` may hold for an adapter on MLX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from vqa_engine.errors import ConfigurationError

KNOWN = ("instruction", "reuse", "batch")


@frozen(kw_only=True)
class Options:
    """A model's options.

    `instruction` is the text appended to each question, possibly empty, None for the
    family's own. `reuse` says whether what was computed about an image serves its next
    question, `batch` whether questions about one image are answered together.
    """

    instruction: str | None
    reuse: bool
    batch: bool


def read(options: Mapping[str, Any]) -> Options:
    """The options of a `ModelRef`; the command line gives them all as text.

    Raises:
        ConfigurationError: one is unknown, or has an invalid value.
    """
    unknown = sorted(set(options) - set(KNOWN))
    if unknown:
        raise ConfigurationError(
            f"Unknown model option {', '.join(unknown)}; known: {', '.join(KNOWN)}."
        )
    return Options(
        instruction=_text(options, "instruction"),
        reuse=_switch(options, "reuse"),
        batch=_switch(options, "batch"),
    )


def _text(options: Mapping[str, Any], name: str) -> str | None:
    given = options.get(name)
    if given is not None and not isinstance(given, str):
        raise ConfigurationError(f"The model option {name} is not a text: {given!r}.")
    return given


def _switch(options: Mapping[str, Any], name: str) -> bool:
    """On unless it is said to be off."""
    given = options.get(name, "on")
    if given not in ("on", "off", True, False):
        raise ConfigurationError(f"The model option {name} is on or off, not {given!r}.")
    return given in ("on", True)
