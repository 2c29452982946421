"""Equality with an accepted answer: `exact`, `exact-folded` and `exact-raw`."""

from __future__ import annotations

from functools import lru_cache

from vqa_engine.scoring.metric import BestRule, Metric
from vqa_engine.scoring.normaliser import clean, normalised


def exact() -> Metric:
    """`exact`: equal after normalising; numbers are compared as numbers.

    Case, articles, punctuation and number words make no difference (the normaliser of VQA
    v2), so `Two.` is `2`; but `-5` is not `5`.
    """
    return BestRule(name="exact", compare=_normalised)


def folded() -> Metric:
    """`exact-folded`: equal after stripping spaces, lower-casing and one final full stop."""
    return BestRule(name="exact-folded", compare=_folded)


def raw() -> Metric:
    """`exact-raw`: the same characters, as GQA's eval.py has it."""
    return BestRule(name="exact-raw", compare=lambda said, answer: float(said == answer))


def _normalised(prediction: str, answer: str) -> float:
    said, target = _number(prediction), _number(answer)
    if said is not None and target is not None:
        return float(said == target)
    one, other = normalised(prediction), normalised(answer)
    if not one and not other:  # nothing is left of `The` nor of `?!`
        one, other = clean(prediction).lower(), clean(answer).lower()
    return float(one == other)


@lru_cache(maxsize=1 << 15)  # as for `normalised`: ground truths repeat
def _number(text: str) -> float | None:
    try:
        return float(clean(text).rstrip(".").replace(",", ""))
    except ValueError:
        return None


def _folded(prediction: str, answer: str) -> float:
    return float(_fold(prediction) == _fold(answer))


def _fold(text: str) -> str:
    return text.strip().lower().removesuffix(".").rstrip()
