"""`ocrbench-contains`: OCRBench's rule, an accepted answer occurs in the prediction.

As Yuliang-Liu/MultimodalOCR has it: case is folded and line breaks are spaces; for formulas
(HME100k) spaces are deleted and case is kept. A listing of everything in sight scores.
"""

from __future__ import annotations

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.metric import Grade, Rule, truths

_DATASET = "dataset"
"""The label that names the part of OCRBench a question is from."""

_FORMULAS = "HME100k"


@frozen(kw_only=True)
class OcrBenchContains(Rule):
    """`ocrbench-contains`; the points are OCRBench's score, of 1000 for the whole set."""

    name: str = "ocrbench-contains"
    aggregates: tuple[str, ...] = ("points",)

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        prepared = _formula if question.labels.get(_DATASET) == _FORMULAS else _text
        said = prepared(prediction)
        return Grade(float(any(prepared(truth) in said for truth in truths(question))))


def _text(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
