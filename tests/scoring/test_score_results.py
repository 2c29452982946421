from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.question_builders import annotation, asked, json_file, lines_file, vqa_pair
from vqa_engine.errors import ScoringError
from vqa_engine.questions import QuestionSet, load_questions
from vqa_engine.scoring import score_results
from vqa_engine.scoring.vqa_v2 import VqaV2Official

ALL = ("vqa-v2-official", "vqa-v2-normalised")
OFFICIAL = VqaV2Official()

reusing_folders = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def answers(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"question_id": question_id, "answer": answer} for question_id, answer in pairs]


@pytest.fixture
def three(tmp_path: Path) -> QuestionSet:
    """Questions 1, 2 and 3; three of the ten said red about the last."""
    questions, annotations = vqa_pair(
        tmp_path,
        [asked(number) for number in (1, 2, 3)],
        [
            annotation(1),
            annotation(2),
            annotation(3, ["red"] * 3 + ["blue"] * 7, answer_type="other"),
        ],
    )
    return load_questions(questions, annotations=annotations)


def scored(questions: QuestionSet, folder: Path, content: Any, **options: Any) -> Any:
    path = json_file(folder / "results.json", content)
    return score_results(questions, path, ALL, **options)[0]


def refused(questions: QuestionSet, folder: Path, content: Any, **options: Any) -> str:
    with pytest.raises(ScoringError) as caught:
        scored(questions, folder, content, **options)
    assert "results.json" in str(caught.value)
    return str(caught.value)


def test_every_metric_gets_a_table(three: QuestionSet, tmp_path: Path) -> None:
    official, always = scored(three, tmp_path, answers((3, "red"), (1, "yes"), (2, "Yes")))
    assert (official.metric, always.metric) == ALL
    assert (official.overall.percent, official.overall.count) == (63.33, 3)
    assert always.overall.percent == pytest.approx(290 / 3)
    assert [(k, v.percent) for k, v in official.by_answer_type.items()] == [
        ("other", 90),
        ("yes/no", 50),
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (answers((1, "yes"), (2, "no")), "no answer to 1 question (3)"),
        (answers((1, "yes")), "no answer to 2 questions (2, 3)"),
        (answers((1, "a"), (2, "b"), (3, "c"), (9, "d")), "does not have: 1 question (9)"),
        (answers((1, "a"), (2, "b"), (3, "c"), (3, "c")), "more than once: 1 question (3)"),
        (answers(*((number, "a") for number in range(4, 20))), "(4, 5, 6, 7, 8, …)"),
        (answers((1, 5)), "Expected `str`, got `int` - at `$[0].answer`"),
        ([{"question_id": 1}], "missing required field `answer`"),
        ({"results": []}, "no VQA v2 result file"),
        ([], "no answer to 3 questions"),
    ],
)
def test_misfits_name_the_ids(three: QuestionSet, tmp_path: Path, rows: Any, reason: str) -> None:
    assert reason in refused(three, tmp_path, rows)


def test_partial_scores_what_both_have(three: QuestionSet, tmp_path: Path) -> None:
    rows = answers((3, "red"), (99, "yes"))
    official, _ = scored(three, tmp_path, rows, partial=True)
    assert (official.overall.percent, official.overall.count) == (90, 1)


def test_partial_with_nothing_in_common(three: QuestionSet, tmp_path: Path) -> None:
    assert "no question of the set" in refused(three, tmp_path, answers((9, "a")), partial=True)


def test_partial_does_not_allow_doubles(three: QuestionSet, tmp_path: Path) -> None:
    rows = answers((1, "a"), (1, "b"))
    assert "more than once" in refused(three, tmp_path, rows, partial=True)


def test_without_ground_truths(three: QuestionSet, tmp_path: Path) -> None:
    bare = load_questions(tmp_path / "questions.json")
    rows = answers((1, "a"), (2, "b"), (3, "c"))
    assert "--annotations" in refused(bare, tmp_path, rows)


def test_string_ids_of_a_jsonl_set(tmp_path: Path) -> None:
    rows = [{"question_id": "a", "image": "x.png", "question": "?", "answer": "Two"}]
    questions = load_questions(lines_file(tmp_path, *rows))
    official, always = scored(questions, tmp_path, answers(("a", "2")))
    assert official.overall.percent == always.overall.percent == 100


def test_a_result_file_that_is_not_there(three: QuestionSet, tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="cannot be read"):
        score_results(three, tmp_path / "gone.json", ALL)


@reusing_folders
@given(data=st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_any_bytes(three: QuestionSet, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(data)
    with pytest.raises(ScoringError):
        score_results(three, path, [OFFICIAL])


@reusing_folders
@given(said=st.lists(st.text(max_size=8), min_size=3, max_size=3))
def test_file_scores_equal_direct_ones(three: QuestionSet, tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(answers(*zip((1, 2, 3), said, strict=True))))
    (table,), _ = score_results(three, path, [OFFICIAL])
    direct = [OFFICIAL.score(one, q.answers) for one, q in zip(said, three, strict=True)]
    assert table.overall.percent == round(100 * sum(direct) / 3, 2)
