"""The two VQA v2 accuracies: `vqa-v2-official` and `vqa-v2-normalised`.

Both compare the prediction with each nine of the ten ground truths and average the ten
results, min(1, matches / 3) each. With n of ten matching that gives 0, 30, 60, 90 and from
four on 100 per cent. They differ in when they normalise. Neither looks at `answer_id`: each
ground truth is left out by its place, which is what the official code does on files whose
ids differ, as those of VQA v2 do.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring.metric import Grade, Rule, truths
from vqa_engine.scoring.normaliser import clean, normalised

_ENOUGH = 3
"""Matches among the others that count as fully right (Antol et al., VQA, ICCV 2015)."""


@frozen(kw_only=True)
class VqaV2Official(Rule):
    """The accuracy as the official code computes it since 2021 (GT-Vision-Lab/VQA).

    Unanimous ground truths are compared as they stand: `Yes` against ten `yes` scores 0
    (issue #14 there, deliberate). Fewer than four ground truths are scored by the same
    formula and cannot reach 1; a single one, for which the formula has no others to
    compare with, scores 1 on equality after normalisation.
    """

    name: str = "vqa-v2-official"
    decimals: int | None = 2

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        return Grade(self.score(prediction, truths(question)))

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The accuracy of one prediction, 0..1; float sums as in the official code.

        Raises:
            ScoringError: there are no ground truths.
        """
        if len(answers) < 2:
            return _single(prediction, answers)
        votes, said = [clean(answer) for answer in answers], clean(prediction)
        if len(set(votes)) > 1:
            votes, said = [normalised(vote) for vote in votes], normalised(said)
        matches = votes.count(said)
        shares = [min(1, (matches - (vote == said)) / _ENOUGH) for vote in votes]
        return float(sum(shares)) / len(shares)


@frozen(kw_only=True)
class VqaV2Normalised(Rule):
    """The accuracy with every string normalised, unanimous or not.

    With fewer than four ground truths the matches asked for are as many as there are
    others, so agreeing with everybody is always 1; a single one is a plain comparison.
    """

    name: str = "vqa-v2-normalised"

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        return Grade(self.score(prediction, truths(question)))

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The accuracy of one prediction, 0..1, as one correctly rounded fraction.

        Raises:
            ScoringError: there are no ground truths.
        """
        if len(answers) < 2:
            return _single(prediction, answers)
        said, total = normalised(prediction), len(answers)
        enough = min(_ENOUGH, total - 1)
        matches = sum(normalised(answer) == said for answer in answers)
        if not matches:
            return 0.0
        matching, others = min(enough, matches - 1), min(enough, matches)
        return (matches * matching + (total - matches) * others) / (enough * total)


def _single(prediction: str, answers: Sequence[str]) -> float:
    if not answers:
        raise ScoringError("A question without ground truths cannot be scored.")
    return float(normalised(prediction) == normalised(answers[0]))
