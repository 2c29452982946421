"""ChartQA's relaxed accuracy: `chartqa-relaxed` and `chartqa-relaxed-years-exact`.

There is no official scorer; everybody uses the rule of pix2struct's metrics.py (Methani et
al., PlotQA, 2020): a number may be 5 % off, anything else must be equal, case folded. A
target of 0 is compared as a string, `14%` is 0.14, and neither `$14` nor `1,234` is a number.
"""

from __future__ import annotations

import re

from vqa_engine.scoring.metric import BestRule, Metric

TOLERANCE = 0.05

_YEAR = re.compile(r"\s*(?:1[89]|20)\d\d\s*")


def relaxed() -> Metric:
    """`chartqa-relaxed`: the rule as everybody has it; 2009 is right for 2010."""
    return BestRule(name="chartqa-relaxed", compare=_relaxed)


def years_exact() -> Metric:
    """`chartqa-relaxed-years-exact`: whole numbers from 1800 to 2099 must be met exactly."""
    return BestRule(name="chartqa-relaxed-years-exact", compare=_with_exact_years)


def _relaxed(prediction: str, answer: str) -> float:
    said, target = _number(prediction), _number(answer)
    if said is None or not target:
        return float(prediction.lower() == answer.lower())
    return float(abs(said - target) / abs(target) <= TOLERANCE)


def _with_exact_years(prediction: str, answer: str) -> float:
    if _YEAR.fullmatch(answer):
        return float(_number(prediction) == _number(answer))
    return _relaxed(prediction, answer)


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
