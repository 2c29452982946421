"""Soft accuracies over annotators' answers: `soft-accuracy-evalai` and `aokvqa-direct`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring.metric import Grade, Metric, Rule, StringRule, truths
from vqa_engine.scoring.normaliser import normalised

ENOUGH = 3
"""Matches that count as fully right (Antol et al., VQA, ICCV 2015)."""

_DIFFICULT = "difficult_direct_answer"
"""The label, "true", of A-OKVQA's questions that its direct-answer task leaves out."""


def evalai() -> Metric:
    """`soft-accuracy-evalai`: TextVQA, OK-VQA and VizWiz.

    Each answer is left out by its place, min(1, matches / 3) of the others is taken, and
    the results are averaged, every string normalised as EvalAI's servers do.
    """
    return StringRule(name="soft-accuracy-evalai", score=_leave_one_out)


def evalai_normalised(answer: str) -> str:
    """An answer as EvalAI's `EvalAIAnswerProcessor` (MMF, processors.py) compares it.

    It deletes commas and question marks and splits a possessive `'s` before the VQA v2
    normaliser does the rest: `apple,banana` becomes `applebanana`.
    """
    words = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return normalised(words)


def _leave_one_out(prediction: str, answers: Sequence[str]) -> float:
    said, votes = evalai_normalised(prediction), [evalai_normalised(one) for one in answers]
    matches = Counter(votes)[said]
    return sum(min(1.0, (matches - (vote == said)) / ENOUGH) for vote in votes) / len(votes)


@frozen(kw_only=True)
class AokvqaDirect(Rule):
    """`aokvqa-direct`: min(1, n / 3) where n answers equal the prediction exactly.

    As the official script (allenai/aokvqa, evaluation/eval_predictions.py): nothing is
    normalised or left out, and difficult questions have no part.
    """

    name: str = "aokvqa-direct"

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        if question.labels.get(_DIFFICULT, "").casefold() == "true":
            raise ScoringError("A-OKVQA scores no direct answers to difficult questions.")
        return Grade(min(1.0, truths(question).count(prediction) / ENOUGH))
