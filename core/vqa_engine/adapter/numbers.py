"""Numbers as settings: true is none, NaN is none, and what no message can carry is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_MOST = 2**64 - 1
"""The largest number that messages and journals carry."""


def whole(least: int) -> Callable[[Any, Any, Any], None]:
    """A validator of attrs for whole numbers from `least` on."""

    def check(_owner: object, attribute: Any, value: Any) -> None:
        check_whole(attribute.name, value, least)

    return check


def finite(least: float, *, above: bool = False) -> Callable[[Any, Any, Any], None]:
    """A validator of attrs for finite numbers from `least` on, or `above` it."""

    def check(_owner: object, attribute: Any, value: Any) -> None:
        number = _number(value)
        if math.isnan(number) or number < least or (above and number == least):
            bound = f"above {least:g}" if above else f"of at least {least:g}"
            raise ValueError(
                f"{attribute.name} must be a finite number {bound}, not {value!r:.100}"
            )

    return check


def _number(value: object) -> float:
    """The value as a finite number, NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST:
        return math.nan
    return float(value)


def share(_owner: object, attribute: Any, value: Any) -> None:
    """A validator of attrs for numbers from 0 to 1."""
    if not 0 <= _number(value) <= 1:
        raise ValueError(f"{attribute.name} must be a number from 0 to 1, not {value!r:.100}")


def check_whole(name: str, value: object, least: int) -> None:
    """See that a setting is a whole number from `least` on.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r:.100}")
