"""Where the pictures of a question lie in its text."""

from __future__ import annotations

import re

_PLACE = re.compile(r"<image ([0-9]+)>")


def parts(text: str, images: int) -> list[int | str]:
    """A prompt's text and its pictures in the order that a model gets them.

    A picture is its place in `Question.all_images`. Where the text names each of several
    pictures once (`<image 1>`, `<image 2>`, …), they lie there; otherwise all are in front.

    A single picture is in front and its name stays text, as benchmarks that have such texts
    ask: MMMU's own code (mmmu/utils/model_utils.py), lmms-eval's tasks for MMMU
    (`interleaved_format: false`) and MMStar, VLMEvalKit's for MMStar and its prompts of MMMU for
    Qwen and SmolVLM. VLMEvalKit moves the picture of an MMMU question only for models without
    a prompt of their own (dataset/image_mcq.py, `split_MMMU`), lmms-eval only in its chat models.
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
