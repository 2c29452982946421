"""Numbers of the command line that can be used: NaN passes every comparison that a range makes,
and what has hundreds of digits fits no message, clock or database.
"""

from __future__ import annotations

import math
from typing import Any

import click

MOST = 2**63 - 1
"""The largest whole number."""

_LARGEST = 1e9
"""The largest other number: 30 years in seconds."""


class Integer(click.types.IntParamType):
    """A whole number of 64 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        number = int(super().convert(value, param, ctx))
        if abs(number) > MOST:
            self.fail(f"{number} is beyond {MOST}.", param, ctx)
        return number


class Whole(Integer, click.IntRange):
    """One in a range."""

    def __init__(self, least: int = 1, most: int | None = None) -> None:
        super().__init__(least, most)


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` without NaN and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        if number > _LARGEST:
            self.fail(f"{number:g} is more than {_LARGEST:g}.", param, ctx)
        return number
