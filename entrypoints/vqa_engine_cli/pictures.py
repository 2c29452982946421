"""Pictures in the terminal, where it can show them."""

from __future__ import annotations

import base64
import os
from io import BytesIO
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from vqa_engine import Question

ROWS = 12
"""Lines of the terminal that a picture takes."""

EDGE = 512
"""Pixels that a picture has at most on its longer edge, so that a screen of them is sent fast."""

_CHUNK = 4096
"""Characters of one kitty escape sequence at most, by its protocol."""


def inline(question: Question, stream: TextIO) -> str:
    """The escape sequences that show a question's picture; empty where the terminal has none.

    kitty's protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol), which Ghostty shares,
    or iTerm2's (https://iterm2.com/documentation-images), which WezTerm shares.
    """
    program = os.environ.get("TERM_PROGRAM")
    kitty = os.environ.get("TERM") == "xterm-kitty" or program == "ghostty"
    if not stream.isatty() or not (kitty or program in {"iTerm.app", "WezTerm"}):
        return ""
    data = _png(question)
    return (_kitty(data) if kitty else _iterm(data)) if data else ""


def _png(question: Question) -> str:
    """The picture, small, in base64; empty if it cannot be read: its path is shown anyway."""
    from vqa_engine.errors import ImageError
    from vqa_engine.images import bounded, open_image

    try:
        image = bounded(open_image(question), EDGE)
    except ImageError:
        return ""
    file = BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _iterm(data: str) -> str:
    return f"\033]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{data}\a"


def _kitty(data: str) -> str:
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    heads = [f"a=T,f=100,r={ROWS},q=2,", *[""] * (len(chunks) - 1)]
    return "".join(
        f"\033_G{head}m={int(number < len(chunks))};{chunk}\033\\"
        for number, (head, chunk) in enumerate(zip(heads, chunks, strict=True), start=1)
    )
