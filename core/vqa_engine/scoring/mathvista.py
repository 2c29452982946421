"""`mathvista-rules`: MathVista without its judge.

The official evaluation has GPT extract the answer, and chooses the nearest choice, or the
shortest one where nothing was extracted. Here rules extract it, and an answer in which they
find none is wrong, so scores are lower than published ones. Normalisation and comparison are
the official ones (lupantech/MathVista, calculate_score.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.choice import Choice
from vqa_engine.scoring.metric import Grade, Status, truths

_PRECISION = "precision"
"""The label that says to how many decimals a float is compared."""

_NUMBER = re.compile(
    r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w]|\.\d)"
)
_LIST = re.compile(r"\[[^\[\]]*\]")
_STATED = re.compile(r"\banswer\s*(?:is|:|=)\s*", re.IGNORECASE)
_MARKUP = re.compile(r"\\(?:boxed|text|mathrm)\b|[$*{}\"`]")


@frozen(kw_only=True)
class MathVistaRules(Choice):
    """Choices by letter or text; the one number or list that occurs, or follows `answer is`."""

    name: str = "mathvista-rules"

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        if question.choices:
            return super().grade(prediction, question)
        accepted, normal = truths(question), _normaliser(question)
        found, status = _extracted(prediction, _LIST if question.answer_type == "list" else _NUMBER)
        said = normal(found) if found is not None else None
        right = said is not None and said in {truth.strip() for truth in accepted}
        return Grade(float(right), said, status)


def _extracted(prediction: str, form: re.Pattern[str]) -> tuple[str | None, Status]:
    """The one thing of this form behind the last `answer is`, else in the whole answer."""
    text = _MARKUP.sub(" ", prediction)
    stated = list(_STATED.finditer(text))
    for part in ([text[stated[-1].end() :]] if stated else []) + [text]:
        found = dict.fromkeys(one for one in form.findall(part) if one.strip("-"))
        if len(found) == 1:
            return next(iter(found)), "parsed"
        if found:
            return None, "ambiguous"
    return None, "unparsed"


def _normaliser(question: Question) -> Callable[[str], str | None]:
    if question.answer_type == "integer":
        return _integer
    if question.answer_type == "float":
        precision = int(float(question.labels.get(_PRECISION, "2")))
        return lambda text: str(round(_float(text), precision))
    return str.strip


def _integer(text: str) -> str:
    """Without decimals; what is too large for a float is no whole number."""
    value = _float(text)
    return str(int(value)) if isfinite(value) else str(value)


def _float(text: str) -> float:
    return float(text.replace(",", ""))
