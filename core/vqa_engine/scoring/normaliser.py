"""The answer normaliser of the VQA v2 evaluation, quirks included.

Source: GT-Vision-Lab/VQA, PythonEvaluationTools, 2021; described in the project's facts page
on metrics. EvalAI's normaliser for TextVQA, OK-VQA and VizWiz is another one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from vqa_engine.scoring.contractions import CONTRACTIONS

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NUMBERS = {"none": "0"} | {word: str(value) for value, word in enumerate(_DIGITS)}
_ARTICLES = frozenset({"a", "an", "the"})

_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
"""The official code passes `re.UNICODE`, which is 32, where `sub` takes its count."""


def clean(answer: str) -> str:
    """Line breaks and tabs become spaces, the ends are stripped: always the first step."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 15)  # ground truths repeat; longer predictions push out only each other
def normalised(answer: str) -> str:
    """The answer in the form in which two answers are compared.

    Punctuation goes, number words up to ten become digits (`none` becomes `0`), articles
    go, missing apostrophes come back, letters are lower case, spaces single.
    """
    words = _without_punctuation(clean(answer)).lower().split()
    kept = [number for word in words if (number := _NUMBERS.get(word, word)) not in _ARTICLES]
    return " ".join(CONTRACTIONS.get(word, word) for word in kept)


def _without_punctuation(text: str) -> str:
    """Each mark is deleted if it stands beside a space anywhere, else it becomes a space.

    Which of the two is decided on the text as it came, for all marks at once when it holds
    a number with a comma.
    """
    delete_all = _COMMA_IN_NUMBER.search(text) is not None
    replaced = text
    for mark in _MARKS:
        if mark in text:
            beside_space = f"{mark} " in text or f" {mark}" in text
            replaced = replaced.replace(mark, "" if delete_all or beside_space else " ")
    return _PERIOD.sub("", replaced, count=_MOST_PERIODS)
