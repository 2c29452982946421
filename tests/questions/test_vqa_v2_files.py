from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.question_builders import YES, annotation, asked, checked, json_file, vqa_pair
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.images import open_image
from vqa_engine.questions import QuestionSet, load_questions

reusing_folders = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def loaded(folder: Path, questions: Any, annotations: Any, **options: Any) -> QuestionSet:
    first, second = vqa_pair(folder, questions, annotations)
    return load_questions(first, annotations=second, **options)


def refused(folder: Path, questions: Any, annotations: Any) -> QuestionSetError:
    with pytest.raises(QuestionSetError) as caught:
        loaded(folder, questions, annotations)
    return caught.value


def test_a_pair(tmp_path: Path) -> None:
    truths = ["red"] * 3 + ["blue"] * 7
    questions = loaded(
        tmp_path,
        [asked(42000, 42), asked(42001, 42, "What colour?")],
        [annotation(42001, truths, 42, answer_type="other"), annotation(42000, YES, 42)],
    )
    assert isinstance(questions, QuestionSet)
    assert (len(questions), questions.name) == (2, "questions.json")
    first, second = questions
    assert first.answers == YES
    assert second == Question(
        question_id=42001,
        image=tmp_path / "COCO_val2014_000000000042.jpg",
        text="What colour?",
        answers=tuple(truths),
        image_id=42,
        question_type="is it",
        answer_type="other",
        origin="questions.json:questions[1]",
        image_root=tmp_path,
    )


def test_okvqa_as_published(tmp_path: Path) -> None:
    asked = {"image_id": 297147, "question": "What sport is it?", "question_id": 2971475}
    given = [
        {"answer_id": turn, "raw_answer": "racing", "answer_confidence": "yes", "answer": "race"}
        for turn in range(1, 11)
    ]
    known = {"image_id": 297147, "answer_type": "other", "question_type": "four"}
    known |= {"question_id": 2971475, "answers": given, "confidence": 3}
    about = {"info": {}, "license": {}, "data_type": "mscoco", "data_subtype": "val2014"}
    questions = json_file(
        tmp_path / "OpenEnded_mscoco_val2014_questions.json",
        {**about, "task_type": "Open-Ended", "questions": [asked]},
    )
    annotations = json_file(
        tmp_path / "mscoco_val2014_annotations.json",
        {**about, "annotations": [known], "question_types": {"four": "Sports and Recreation"}},
    )
    (only,) = load_questions(questions, annotations=annotations)
    assert (only.answers, only.question_type) == (("race",) * 10, "four")
    assert str(only.image).endswith("COCO_val2014_000000297147.jpg")


def test_questions_alone(tmp_path: Path) -> None:
    path, _ = vqa_pair(tmp_path, [asked(1)], [])
    (question,) = load_questions(path)
    assert (question.answers, question.answer_type) == ((), None)


def test_images_are_opened_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "val2014"
    folder.mkdir()
    checked().save(folder / "COCO_val2014_000000000001.jpg")
    (question,) = loaded(tmp_path, [asked(1)], [annotation(1)], images=folder)
    assert open_image(question).size == checked().size


@pytest.mark.parametrize(
    ("subtype", "name", "image"),
    [
        ("val2014", "q.json", "COCO_val2014_000000000042.jpg"),
        ("test-dev2015", "q.json", "COCO_test2015_000000000042.jpg"),
        (None, "v2_OpenEnded_mscoco_train2014_questions.json", "COCO_train2014_000000000042.jpg"),
        (None, "v2_OpenEnded_mscoco_test-dev2015_questions.json", "COCO_test2015_000000000042.jpg"),
        (None, "mine.json", "42.jpg"),
    ],
)
def test_image_names(tmp_path: Path, subtype: str | None, name: str, image: str) -> None:
    content = {"questions": [asked(1, 42)], "data_subtype": subtype}
    (question,) = load_questions(json_file(tmp_path / name, content))
    assert question.image == tmp_path / image


# --- what stops a run


def test_misfits_name_file_and_id(tmp_path: Path) -> None:
    both = [asked(1), asked(2)]
    cases = [
        ([asked(1), asked(1)], [annotation(1)], "questions[1] has the question_id", 1),
        (both, [annotation(1)], "no annotation", 2),
        (both, [annotation(1), annotation(2), annotation(3)], "no such question", 3),
        (both, [annotation(1), annotation(2), annotation(2)], "annotated twice", 2),
        (both, [annotation(1), annotation(2, image_id=5)], "image_id is 5 here and 1 in", 2),
        ([{"question_id": 9, "image_id": 1}], [], "questions[0]: Object missing", 9),
        ([{"question_id": "x", "image_id": 1, "question": ""}], [], "`$.question_id`", "x"),
        ([asked(1), 5], [], "questions[1]: Expected `object`", None),
        ([asked(2**64)], [], "questions[0]", 2**64),
        (both, [annotation(1) | {"answers": ["yes"]}], "annotations[0]", 1),
        (both, [annotation(1) | {"answers": [{"answer": 5}]}], "`$.answers[0].answer`", 1),
        ([], [], "holds no question", None),
    ]
    for asked_, known, reason, question_id in cases:
        error = refused(tmp_path, asked_, known)
        assert reason in str(error), str(error)
        assert error.question_id == question_id
        assert error.file is not None
        assert str(error).startswith(str(error.file))


def test_doubles_are_found_without_annotations(tmp_path: Path) -> None:
    path, _ = vqa_pair(tmp_path, [asked(1), asked(1)], [])
    with pytest.raises(QuestionSetError, match="has the question_id"):
        load_questions(path)


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        (b'{"questions": [\n  {"question_id": 1,\n   oops}]}', "invalid JSON", 3),
        (b'{\n"questions": [1, 2\n', "invalid JSON", 2),
        (b"", "invalid JSON", 1),
        (b"[]", "holds no question", None),
        (b'{"annotations": []}', "missing required field `questions`", None),
        (b'{"questions": {}}', "`$.questions`", None),
        (b'{"questions": [], "data_subtype": 5}', "`$.data_subtype`", None),
        (b'{"questions": [{"question_id": 1, "image_id": 1, "question": "\xff"}]}', "[0]", None),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, reason: str, line: int | None) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(content)
    with pytest.raises(QuestionSetError) as caught:
        load_questions(path)
    assert (caught.value.file, caught.value.line) == (path, line), str(caught.value)
    assert reason in str(caught.value)


def test_missing_annotations_file(tmp_path: Path) -> None:
    path, _ = vqa_pair(tmp_path, [asked(1)], [])
    with pytest.raises(QuestionSetError, match=r"gone\.json: it cannot be read"):
        load_questions(path, annotations=tmp_path / "gone.json")


def test_bom(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"questions": [asked(1)]}).encode())
    assert len(load_questions(path)) == 1


# --- as a set


def test_equal_ground_truths_are_kept_once(tmp_path: Path) -> None:
    numbers = range(1, 4)
    first, *others = loaded(
        tmp_path, [asked(number) for number in numbers], [annotation(number) for number in numbers]
    )
    assert all(question.answers is first.answers for question in others)


def test_digest_is_of_the_meaning(tmp_path: Path) -> None:
    def digest(*truths: str, **fields: Any) -> str:
        pair = vqa_pair(tmp_path, [asked(1)], [annotation(1, truths)], **fields)
        return load_questions(pair[0], annotations=pair[1]).digest()

    assert digest(*YES) == digest(*YES, info={"year": 2017})
    assert len({digest(*YES), digest("no"), digest(*YES, data_subtype="train2014")}) == 3


@pytest.mark.slow
@reusing_folders
@given(st.binary(max_size=60) | st.text('{}[]":,\n questionsid1\\u', max_size=60).map(str.encode))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    good, _ = vqa_pair(tmp_path, [asked(1)], [])
    path = tmp_path / "any.json"
    path.write_bytes(data)
    for source, annotations_ in ((path, None), (good, path)):
        # A list of objects is a table, whose columns may have to be named.
        with pytest.raises((QuestionSetError, ConfigurationError)):
            load_questions(source, annotations=annotations_)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@pytest.mark.slow
@reusing_folders
@given(st.sampled_from(["question_id", "image_id", "question", "answers", "answer_type"]), JSON)
def test_any_value_in_any_field(tmp_path: Path, field: str, value: Any) -> None:
    try:
        questions = loaded(tmp_path, [asked(1) | {field: value}], [annotation(1) | {field: value}])
    except QuestionSetError:
        return
    assert len(list(questions)) == 1


IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6, unique=True)
TRUTHS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=10)


@pytest.mark.slow
@reusing_folders
@given(IDS, st.data())
def test_round_trip(tmp_path: Path, ids: list[int], data: st.DataObject) -> None:
    truths = {one: data.draw(TRUTHS) for one in ids}
    shuffled = data.draw(st.permutations(ids))
    questions = loaded(
        tmp_path,
        [asked(one, one) for one in ids],
        [annotation(one, truths[one], one) for one in shuffled],
    )
    assert [(q.question_id, q.image_id, list(q.answers)) for q in questions] == [
        (one, one, truths[one]) for one in ids
    ]
