from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from tests.question_builders import question
from vqa_engine.adapter import Answer, GenerationPlan
from vqa_engine.errors import ConfigurationError, ScoringError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.results import Failure, Row
from vqa_engine.runs.submissions import submission, submitted


def row(said: str | None, **changes: Any) -> Row:
    answer = None if said is None else Answer(text=said, plan=GenerationPlan())
    failure = Failure(cause="adapter", message="no") if said is None else None
    return Row(adapter="a", question=question(**changes), answer=answer, failure=failure)


def written(name: str, rows: list[Row], **options: bool) -> str:
    form = evolve(submission(name), counts=(len(rows),))
    return b"".join(submitted(form, rows, **options)).decode()


def test_numbers_are_numbers_and_names_are_names() -> None:
    for name, key in (
        ("textvqa", "question_id"),
        ("vqav2", "question_id"),
        ("docvqa", "questionId"),
    ):
        assert json.loads(written(name, [row("yes", question_id="34602")])) == [
            {key: 34602, "answer": "yes"}
        ]
    image = "VizWiz_test_00000000.jpg"
    assert json.loads(written("vizwiz", [row("yes", question_id=image)])) == [
        {"image": image, "answer": "yes"}
    ]
    assert json.loads(written("gqa", [row("yes", question_id=2)])) == [
        {"questionId": "2", "prediction": "yes"}
    ]


def test_letters_are_read_from_answers_and_texts_stay() -> None:
    rows = [
        row("The answer is (B).", question_id="x1", choices=("a", "b")),
        row("seven", question_id="x2"),
    ]
    assert json.loads(written("mmmu", rows)) == {"x1": "B", "x2": "seven"}
    assert json.loads(written("aokvqa", rows)) == {
        "x1": {"multiple_choice": "b"},
        "x2": {"direct_answer": "seven"},
    }
    assert json.loads(written("seedbench", rows[:1])) == {"question_id": "x1", "prediction": "B"}


def test_mmbench_gets_what_the_model_said() -> None:
    found = written(
        "mmbench", [row("B) dog", question_id=5, text="Which?", choices=("cat", "dog"))]
    )
    assert found.splitlines() == [
        "index\tquestion\tA\tB\tC\tD\tprediction",
        "5\tWhich?\tcat\tdog\t\t\tB) dog",
    ]
    prompt = row("B", question_id=5, text="Hint: x\nWhich?\nA. …", labels={"asked": "Which?"})
    assert written("mmbench", [prompt]).splitlines()[1] == "5\tWhich?\t\t\t\t\tB"


def test_a_part_of_a_test_set_is_refused() -> None:
    with pytest.raises(ScoringError, match=r"set has 1 questions, and VizWiz's server.* of 8,000"):
        submitted(submission("vizwiz"), [row("yes")])


def test_gqa_wants_every_question_of_a_split() -> None:
    assert submission("gqa").counts == (172174, 1340048, 713449, 4237524)
    with pytest.raises(ScoringError, match=r"set has 1 questions, and GQA's server .* of 172,174"):
        submitted(submission("gqa"), [row("yes")])


@pytest.mark.parametrize("name", plugins.names(plugins.SUBMISSIONS))
def test_every_server_says_how_many_questions_it_scores(name: str) -> None:
    assert min(submission(name).counts) > 1000


def test_a_question_without_an_answer_is_refused_unless_wanted_empty() -> None:
    rows = [row("yes", question_id=1), row(None, question_id=2)]
    with pytest.raises(ScoringError, match=r"1 of 2 questions have no answer \(2\)"):
        written("textvqa", rows)
    assert json.loads(written("textvqa", rows, errors_as_empty=True))[1]["answer"] == ""


def test_an_id_that_the_server_does_not_know_is_refused() -> None:
    with pytest.raises(ScoringError, match="wants whole numbers as ids, and 'x' is none"):
        written("docvqa", [row("yes", question_id="x")])


def test_an_unknown_server_is_named() -> None:
    with pytest.raises(ConfigurationError, match="There is no submission 'vizwitz'; did you mean"):
        submission("vizwitz")
