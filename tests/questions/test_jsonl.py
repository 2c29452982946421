from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.question_builders import checked, encoded, lines_file
from tests.question_builders import question as build
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, ImageError, QuestionSetError
from vqa_engine.images import open_image
from vqa_engine.questions import QuestionSet, load_questions
from vqa_engine.questions.question_set import digest_of

reusing_folders = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

LINE = {"image": "cat.png", "question": "Is it a cat?"}


def loaded(folder: Path, *rows: Any, **options: Any) -> QuestionSet:
    return load_questions(lines_file(folder, *rows), **options)


def one(folder: Path, **fields: Any) -> Question:
    (question,) = loaded(folder, LINE | fields)
    return question


def refused(folder: Path, *rows: Any) -> QuestionSetError:
    with pytest.raises(QuestionSetError) as caught:
        loaded(folder, *rows)
    assert caught.value.file == folder / "set.jsonl"
    return caught.value


# --- what a line means


def test_the_shortest_line(tmp_path: Path) -> None:
    question = one(tmp_path)
    assert question == Question(
        question_id=1,
        image=tmp_path / "cat.png",
        text="Is it a cat?",
        origin="set.jsonl:1",
        image_root=tmp_path,
    )


def test_every_field(tmp_path: Path) -> None:
    question = one(
        tmp_path,
        question_id="q1",
        answers=["yes", "no"],
        image_id=12,
        question_type="is it",
        answer_type="yes/no",
        choices=["yes", "no"],
        unknown={"passed": "over"},
    )
    assert (question.question_id, question.image_id) == ("q1", 12)
    assert (question.question_type, question.answer_type) == ("is it", "yes/no")
    assert question.answers == question.choices == ("yes", "no")


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"answers": ["yes", "no"]}, ("yes", "no")),
        ({"answers": [{"answer": "yes", "answer_id": 1}, "no"]}, ("yes", "no")),
        ({"answer": "yes"}, ("yes",)),
        ({"answers": ["no"], "answer": "yes"}, ("no",)),
        ({"answers": []}, ()),
        ({"answers": None, "answer": None}, ()),
    ],
)
def test_ground_truths(tmp_path: Path, fields: dict[str, Any], answers: tuple[str, ...]) -> None:
    assert one(tmp_path, **fields).answers == answers


def test_text_stands_for_question(tmp_path: Path) -> None:
    (question,) = loaded(tmp_path, {"image": "a.png", "text": "Why?"})
    assert question.text == "Why?"


def test_blank_lines_bom_and_line_ends(tmp_path: Path) -> None:
    line = json.dumps(LINE).encode()
    questions = loaded(tmp_path, b"\xef\xbb\xbf" + line + b"\r", b"", b"  \t", line, b"\r")
    assert [q.question_id for q in questions] == [1, 4]
    assert [q.origin for q in questions] == ["set.jsonl:1", "set.jsonl:4"]


def test_last_line_needs_no_end(tmp_path: Path) -> None:
    path = lines_file(tmp_path, LINE)
    path.write_bytes(path.read_bytes().rstrip())
    assert len(load_questions(path)) == 1


def test_text_outside_ascii(tmp_path: Path) -> None:
    (question,) = loaded(tmp_path, json.dumps(LINE | {"text": "ñ", "question": "日本?"}).encode())
    assert question.text == "日本?"


# --- what stops a run


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"image": "a.png", "question": ', "invalid JSON"),
        (b"{'image': 'a.png'}", "invalid JSON"),
        (b'{"image": "a.png", "question": "x"} trailing', "invalid JSON"),
        (b'{"image": "a.png", "question": "\\ud800"}', "invalid JSON"),
        (b'{"image": "a.png", "question": "\xff"}', "not UTF-8"),
        ("{}".encode("utf-16"), "invalid JSON"),
        (b"[" * 100_000, "not a question"),
        (b'{"deep": ' + b"[" * 100_000, "invalid JSON"),
        ([], "not a question"),
        ({"question": "Why?"}, "missing required field `image`"),
        ({"image": "a.png"}, "neither `question` nor `text`"),
        ({"image": 5, "question": "Why?"}, "`$.image`"),
        (LINE | {"question_id": True}, "`$.question_id`"),
        (LINE | {"question_id": 2**63}, "`$.question_id`"),
        (LINE | {"question_id": [1]}, "`$.question_id`"),
        (LINE | {"answers": "yes"}, "`$.answers`"),
        (LINE | {"answers": [5]}, "`$.answers[0]`"),
        (LINE | {"answers": [{"text": "yes"}]}, "`$.answers[0]`"),
        (LINE | {"choices": "yes"}, "`$.choices`"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_line_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    error = refused(tmp_path, *[LINE] * 16, row, LINE)
    assert (error.line, reason in str(error)) == (17, True), str(error)
    assert "set.jsonl:17" in str(error)


def test_doubled_ids_name_both_lines(tmp_path: Path) -> None:
    error = refused(tmp_path, LINE, LINE | {"question_id": "x"}, b"", LINE | {"question_id": "x"})
    assert (error.line, error.question_id) == (4, "x")
    assert "first on line 2" in str(error)


def test_a_line_number_may_clash_with_an_id(tmp_path: Path) -> None:
    error = refused(tmp_path, LINE | {"question_id": 2}, LINE)
    assert (error.line, error.question_id) == (2, 2)


@pytest.mark.parametrize("rows", [(), (b"", b"  ")])
def test_an_empty_file(tmp_path: Path, rows: tuple[bytes, ...]) -> None:
    assert "holds no question" in str(refused(tmp_path, *rows))


def test_a_file_that_changed_since(tmp_path: Path) -> None:
    questions = loaded(tmp_path, LINE, LINE)
    lines_file(tmp_path, b"x" * 90)
    with pytest.raises(QuestionSetError, match="was changed"):
        list(questions)
    (tmp_path / "set.jsonl").unlink()
    with pytest.raises(QuestionSetError, match="cannot be read"):
        list(questions)


# --- what costs one question only


def test_images_are_not_looked_at_up_front(tmp_path: Path) -> None:
    rows = [LINE | {"image": name} for name in ("gone.png", "../x.png", "/etc/hostname", "")]
    reasons = []
    for question in loaded(tmp_path, *rows):
        with pytest.raises(ImageError) as caught:
            open_image(question)
        assert caught.value.origin == f"set.jsonl:{question.question_id}"
        reasons.append(caught.value.reason)
    assert ["no such" in reasons[0], "out of" in reasons[1], "out of" in reasons[2]] == [True] * 3
    assert "folder" in reasons[3]


def test_images_lie_beside_the_file_or_in_the_folder_given(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "cat.png").write_bytes(encoded(checked()))
    beside, given_ = loaded(tmp_path, LINE), loaded(tmp_path, LINE, images=folder)
    assert [q.image_root for q in (*beside, *given_)] == [tmp_path, folder]
    assert all(open_image(question).size == checked().size for question in (*beside, *given_))


def test_paths_hold_in_another_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_file(tmp_path, LINE)
    monkeypatch.chdir(tmp_path)
    (question,) = load_questions("set.jsonl")
    assert question.image == tmp_path / "cat.png"


# --- as a set


def test_it_is_lazy_and_can_be_iterated_again(tmp_path: Path) -> None:
    questions = loaded(tmp_path, *[LINE] * 5)
    assert isinstance(questions, QuestionSet)
    assert (len(questions), questions.name) == (5, "set.jsonl")
    first = iter(questions)
    next(first)
    assert [q.question_id for q in questions] == [1, 2, 3, 4, 5]
    assert [q.question_id for q in first] == [2, 3, 4, 5]


def test_digest_is_of_the_meaning(tmp_path: Path) -> None:
    before = loaded(tmp_path, LINE | {"question_id": 1}).digest()
    other = tmp_path / "moved"
    other.mkdir()
    moved = loaded(other, json.dumps(LINE | {"more": 1, "question_id": 1}, indent=None).encode())
    assert moved.digest() == before
    for fields in ({"question": "?"}, {"answer": "yes"}, {"image": "b.png"}, {"question_id": 2}):
        assert loaded(tmp_path, LINE | {"question_id": 1} | fields).digest() != before


def test_digest_of_images_without_a_path() -> None:
    sources = (b"a", b"b", checked(), checked().rotate(180))
    digests = [digest_of([build(image=source)]) for source in sources]
    assert len(set(digests)) == 4
    assert digests[2] == digest_of([build(image=checked())])


@pytest.mark.slow
@reusing_folders
@given(st.binary(max_size=80) | st.text('{}[]":,\n imageqston1\\u', max_size=60).map(str.encode))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.jsonl"
    path.write_bytes(data)
    try:
        questions = load_questions(path)
    except QuestionSetError:
        return
    assert len(list(questions)) == len(questions) > 0


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.fixed_dictionaries(
    {"image": TEXT, "question": TEXT, "answers": st.lists(TEXT, max_size=3)},
    optional={"image_id": st.integers(-(2**63), 2**63 - 1) | TEXT, "answer_type": TEXT},
)


@pytest.mark.slow
@reusing_folders
@given(st.lists(ROWS, min_size=1, max_size=6), st.booleans())
def test_round_trip(tmp_path: Path, rows: list[dict[str, Any]], escaped: bool) -> None:
    lines = [json.dumps(row, ensure_ascii=escaped).encode() for row in rows]
    found = list(loaded(tmp_path, *lines))
    assert [(q.text, list(q.answers)) for q in found] == [
        (row["question"], row["answers"]) for row in rows
    ]
    assert [q.image_id for q in found] == [row.get("image_id") for row in rows]
    assert [q.image for q in found] == [tmp_path / row["image"] for row in rows]


@pytest.mark.parametrize("how", ["overwritten", "replaced", "deleted", "appended"])
def test_a_file_changed_in_mid_run_stops_it(tmp_path: Path, how: str) -> None:
    file = tmp_path / "q.jsonl"
    line = '{{"image": "a.png", "question": "{}?"}}\n'
    file.write_text("".join(map(line.format, "abc")))
    questions = load_questions(file)
    asked = iter(questions)
    assert next(asked).text == "a?"
    if how == "overwritten":
        file.write_text("".join(map(line.format, "xyz")))
    elif how == "appended":
        with file.open("a") as more:
            more.write(line.format("d"))
    else:
        file.unlink()
    if how == "replaced":
        file.write_text("".join(map(line.format, "xyz")))
    if how in {"overwritten", "appended"}:
        with pytest.raises(QuestionSetError, match="was changed while it was in use"):
            list(asked)
    else:  # the file that was opened is still the one that was checked
        assert [one.text for one in asked] == ["b?", "c?"]
    with pytest.raises(QuestionSetError, match=r"changed while|cannot be read"):
        list(questions)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".xlsx", ".parquet"])
def test_a_pipe_is_no_question_file(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"q{suffix}")
    with pytest.raises(ConfigurationError, match="pipe"):
        load_questions(tmp_path / f"q{suffix}")


@pytest.mark.parametrize("right", [1, "B", "bee"])
def test_the_right_choice_is_an_index_a_letter_or_a_text(tmp_path: Path, right: object) -> None:
    line = {"image": "a.png", "question": "?", "choices": ["ant", "bee"], "right": right}
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps(line))
    (only,) = load_questions(file)
    assert only.right == 1


def test_a_right_choice_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"image": "a.png", "question": "?", "choices": ["ant"], "right": "wasp"}')
    with pytest.raises(QuestionSetError, match=r"q\.jsonl:1: .*its right choice is 'wasp'"):
        load_questions(file)
