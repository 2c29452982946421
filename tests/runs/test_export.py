"""Result files for the official evaluator."""

from __future__ import annotations

import json

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.results import Row
from vqa_engine.runs.export import vqa_v2_results


def written(text: str, *, normalise: bool) -> str:
    """The answer as it is in the file."""
    row = Row(
        adapter="a",
        question=Question(question_id=1, image=b"", text="?"),
        answer=Answer(text=text, plan=GenerationPlan()),
    )
    (entry,) = json.loads(b"".join(vqa_v2_results([row], normalise=normalise)))
    answer: str = entry["answer"]
    return answer


def test_answers_are_written_as_they_are() -> None:
    assert written("The Two cats.", normalise=False) == "The Two cats."


def test_answers_can_be_written_normalised() -> None:
    assert written("The Two cats.", normalise=True) == "2 cats"
