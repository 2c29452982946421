"""Result files for the official evaluator."""

from __future__ import annotations

import csv
import io
import json

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.results import Row
from vqa_engine.runs.export import comma_separated, record, vqa_v2_results
from vqa_engine.runs.reading import graded
from vqa_engine.scoring import metrics


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


def test_a_chosen_option_has_its_probability_in_every_export() -> None:
    question = Question(question_id=1, image=b"", text="?", choices=("ant", "bee"), right=1)
    answer = Answer("B", choice=1, probability=0.75, logprob=-2.5)
    row = Row(adapter="a", question=question, answer=answer)
    known = record(row)
    assert (known["chosen"], known["probability"], known["logprob"]) == ("bee", 0.75, -2.5)
    text = b"".join(comma_separated(graded([row], metrics("choice")), ["choice"])).decode()
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["answer"], line["chosen"], line["choice"]) == ("B", "bee", "1.0")
    assert (float(line["probability"]), float(line["logprob"])) == (0.75, -2.5)
