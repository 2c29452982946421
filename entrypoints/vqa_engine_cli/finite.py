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


class Whole(click.IntRange):
    """A `click.IntRange` with an end."""

    def __init__(self, least: int = 1, most: int = MOST) -> None:
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
