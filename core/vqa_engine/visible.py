"""Text from outside as a terminal may be given it: nothing in it is obeyed, all of it is seen."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and newline
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"  # direction, lines (Unicode UAX 9, 14)
    "\ud800-\udfff\U000e0000-\U000e007f]"  # halves of pairs, and invisible tags
)


def visible(text: str) -> str:
    r"""The text with every character that a terminal would act on written as `\u001b`.

    That is the form of JSON, so that a line of it stays one. Newlines and tabs stay.
    """
    return _HIDDEN.sub(lambda found: _written(ord(found[0])), text)


def _written(code: int) -> str:
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
