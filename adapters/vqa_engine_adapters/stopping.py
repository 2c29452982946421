"""Whether an answer has come to one of the texts that end it, so that no more is generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Ended = Callable[[Sequence[int]], bool]
"""Whether the ids generated so far end the answer."""

_BYTES = 4
"""Bytes of a character at most (UTF-8); a token is one byte at least."""

_MARGIN = 4
"""Further tokens, because a tokenizer may write the first of a sequence differently."""


def ended_by(tokenizer: Any, texts: Sequence[str]) -> Ended:
    """Ends an answer with the token that completes one of these texts.

    White space that an answer begins with is no part of it. The engine cuts the text before
    the stop text; the ids keep all of it.
    """
    if not texts:
        return lambda _ids: False
    reach = _BYTES * max(map(len, texts)) + _MARGIN

    def ended(ids: Sequence[int]) -> bool:
        said = str(tokenizer.decode(list(ids[-reach:]), skip_special_tokens=True))
        said = said.lstrip() if len(ids) <= reach else said
        return any(text in said for text in texts)

    return ended
