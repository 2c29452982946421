"""Text that a parser of the engine reads: what it refuses, the option is named with."""

from __future__ import annotations

from pkgutil import resolve_name

import click


class Parsed(click.ParamType[str]):
    """A text, left as it is if the function at `parser` (`module:function`) reads it.

    The function is imported once the option is given, for `--help` imports no engine.
    """

    def __init__(self, name: str, parser: str) -> None:
        self.name, self._parser = name, parser

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> str:
        """The text."""
        from vqa_engine.errors import VqaEngineError

        text = str(value)
        try:
            resolve_name(self._parser)(text)
        except VqaEngineError as error:
            self.fail(str(error), parameter, context)
        return text
