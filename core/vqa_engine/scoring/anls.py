"""ANLS, of DocVQA, InfographicVQA and ST-VQA: `anls` and `anls-inclusive`.

Biten et al., Scene Text Visual Question Answering (ICCV 2019): 1 - NL if NL < 0.5, else 0,
where NL is the edit distance over the longer length; the best over the accepted answers.
Case is folded and runs of spaces count as one. The two differ at NL = 0.5 exactly, which the
paper and the `anls` package score 0, and lmms-eval and VLMEvalKit 0.5.
"""

from __future__ import annotations

from collections import defaultdict

from vqa_engine.scoring.metric import BestRule, Metric

_THRESHOLD = 0.5
"""The normalised distance from which on an answer is wrong."""


def anls() -> Metric:
    """`anls`: NL = 0.5 is wrong."""
    return BestRule(name="anls", compare=_strict)


def anls_inclusive() -> Metric:
    """`anls-inclusive`: NL = 0.5 scores 0.5."""
    return BestRule(name="anls-inclusive", compare=_inclusive)


def _similarity(one: str, other: str) -> float:
    """1 - NL of two strings, in 0..1; two empty ones are alike."""
    one, other = _folded(one), _folded(other)
    longer = max(len(one), len(other))
    return 1 - edit_distance(one, other) / longer if longer else 1.0


def edit_distance(one: str, other: str) -> int:
    """The Levenshtein distance.

    Bit-parallel (Hyyrö, A bit-vector algorithm for computing Levenshtein and Damerau edit
    distances, 2003): a column of the table is two integers of a bit a character.
    """
    if not one or not other:
        return len(one) + len(other)
    places: dict[str, int] = defaultdict(int)
    for place, character in enumerate(one):
        places[character] |= 1 << place
    mask, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    plus, minus, distance = mask, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        vertical = equal | minus
        horizontal = (((equal & plus) + plus) ^ plus) | equal
        up = minus | ~(horizontal | plus) & mask
        down = plus & horizontal
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & mask, (down << 1) & mask
        plus, minus = down | ~(vertical | up) & mask, up & vertical
    return distance


def _strict(prediction: str, answer: str) -> float:
    found = _similarity(prediction, answer)
    return found if found > 1 - _THRESHOLD else 0.0


def _inclusive(prediction: str, answer: str) -> float:
    found = _similarity(prediction, answer)
    return found if found >= 1 - _THRESHOLD else 0.0


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
