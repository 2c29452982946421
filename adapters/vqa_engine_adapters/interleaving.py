"""Where the pictures of a question lie in its text."""

from __future__ import annotations

import re

_PLACE = re.compile(r"<image ([0-9]+)>")


def parts(text: str, images: int) -> list[int | str]:
    """A prompt's text and its pictures in the order that a model gets them.

    A picture is its place in `Question.all_images`. Where the text names each of several
    pictures once (`<image 1>`, `<image 2>`, …), they lie there; otherwise all are in front.
    """
    named = [int(number) - 1 for number in _PLACE.findall(text)]
    if images < 2 or sorted(named) != list(range(images)):
        return [*range(images), text]
    found: list[int | str] = []
    for turn, part in enumerate(_PLACE.split(text)):
        if turn % 2:
            found.append(int(part) - 1)
        elif part.strip():
            found.append(part)
    return found


def order(text: str, images: int) -> list[int]:
    """The pictures as they follow on one another in a prompt."""
    return [part for part in parts(text, images) if isinstance(part, int)]
