"""What has no implementation to import: VQA v2's official code, and rules restated.

The official code of VQA v2 is Python 2 and is run with its `print` statements taken out. The
rules that are nobody else's, such as `exact`, are restated here from docs/metrics.md and not
from the code that they are compared with.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.scorers.oracles import Oracles

from vqa_engine.adapter import Question

Accuracies = dict[str, Any]

_PRINTS = {
    'print "computing accuracy"': "pass",
    'print "Done computing accuracy"': "pass",
    "self.updateProgress(step/float(len(quesIds)))": "pass",
}
_DECIMALS = 12
"""The official accuracy is rounded; so many decimals leave it as it is."""


class _Answers:
    """Ground truths or predictions as the official code reads them."""

    def __init__(self, qa: dict[int, dict[str, Any]]) -> None:
        self.qa = qa

    def getQuesIds(self) -> list[int]:  # noqa: N802  its name there
        return [*self.qa]


def official_vqa(
    oracles: Oracles,
) -> Callable[[Sequence[tuple[str, Question]]], Accuracies] | None:
    """The accuracies, in per cent, by the official code of VQA v2; None without it."""
    code = _vqa_code(oracles)
    if code is None:
        return None

    def score(pairs: Sequence[tuple[str, Question]]) -> Accuracies:
        truths = {number: _truth(one) for number, (_, one) in enumerate(pairs)}
        said = {number: {"answer": answer} for number, (answer, _) in enumerate(pairs)}
        evaluation = code.VQAEval(_Answers(truths), _Answers(said), n=_DECIMALS)
        evaluation.evaluate()
        found: Accuracies = evaluation.accuracy
        return found

    return score


def _vqa_code(oracles: Oracles) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # its patterns are not raw strings
        return oracles.script("vqa", "PythonEvaluationTools/vqaEvaluation/vqaEval.py", _PRINTS)


def _truth(question: Question) -> dict[str, Any]:
    return {
        "answers": [
            {"answer": answer, "answer_id": number}
            for number, answer in enumerate(question.answers)
        ],
        "question_type": question.question_type or "",
        "answer_type": question.answer_type or "",
    }


def exact(oracles: Oracles) -> Callable[[str, Question], bool] | None:
    """`exact` restated: numbers as numbers, else by VQA v2's own normaliser, else as they are."""
    code = _vqa_code(oracles)
    if code is None:
        return None
    normaliser = code.VQAEval(_Answers({}), _Answers({}))

    def normal(text: str) -> str:
        punctuated = normaliser.processPunctuation(_line(text))
        return str(normaliser.processDigitArticle(punctuated))

    def equal(said: str, truth: str) -> bool:
        numbers = [_number(said), _number(truth)]
        if None not in numbers:
            return numbers[0] == numbers[1]
        one, other = normal(said), normal(truth)
        return one == other if one or other else _line(said).lower() == _line(truth).lower()

    return lambda said, question: any(equal(said, truth) for truth in question.answers)


def folded(said: str, question: Question) -> bool:
    """`exact-folded` restated: spaces at the ends, case and one full stop make no difference."""
    one, other = (
        re.fullmatch(r"\s*(.*?)\s*\.?\s*", text.lower(), re.DOTALL)
        for text in (said, question.answers[0])
    )
    return one is not None and other is not None and one[1] == other[1]


def _line(text: str) -> str:
    return re.sub(r"[\n\t]", " ", text).strip()


def _number(text: str) -> float | None:
    """A number with commas between digits, and full stops behind it."""
    try:
        return float(_line(text).rstrip(".").replace(",", ""))
    except ValueError:
        return None
