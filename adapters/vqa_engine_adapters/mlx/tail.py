"""Tokenising only what follows the image, with the ids that the whole prompt would give.

A tokenizer takes the special tokens out of a text first, and treats what lies between them
piece by piece. So the ids behind the image's last placeholder depend on nothing in front of
it. Whoever uses a tail compares it with the whole prompt's ids once per image all the same.
"""

from __future__ import annotations

from typing import Any


def after(anchor: str, image: str = "<image>") -> Any:
    """Tokenises the text behind `image`, for processors that repeat it as a placeholder.

    `anchor` is what the processor puts last in place of the image, from its last
    placeholder on.
    """

    def tail(processor: Any, prompt: str, *, special: bool) -> list[int]:
        text = prompt.partition(image)[2]
        ids = processor.tokenizer(anchor + text, add_special_tokens=special)["input_ids"]
        placeholder = processor.tokenizer.convert_tokens_to_ids(image)
        return list(ids[len(ids) - ids[::-1].index(placeholder) :])

    return tail
