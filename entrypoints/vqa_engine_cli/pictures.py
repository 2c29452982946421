"""Pictures in the terminal, where it can show them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TextIO

from vqa_engine.adapter import Question
from vqa_engine.errors import ImageError
from vqa_engine.images import encoded

ROWS = 12
"""Lines of the terminal that a picture takes."""

LARGEST = 4 << 20
"""Bytes of a file that is sent to a terminal."""


def inline(image: Path, stream: TextIO) -> str:
    """The escape sequence that shows a picture file; empty where the terminal has none.

    iTerm2's protocol, which WezTerm and others follow (https://iterm2.com/documentation-images).
    """
    if not stream.isatty() or os.environ.get("TERM_PROGRAM") not in {"iTerm.app", "WezTerm"}:
        return ""
    try:
        content = encoded(Question(question_id="", image=image, text=""))
    except ImageError:
        return ""  # the path is printed below, and the answers do not depend on it
    if len(content) > LARGEST:
        return ""
    data = base64.b64encode(content).decode("ascii")
    return f"\033]1337;File=inline=1;height={ROWS};preserveAspectRatio=1:{data}\a"
