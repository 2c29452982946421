from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.question_builders import json_file, lines_file
from tests.questions.tables.builders import picture
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions import load_questions

openpyxl = pytest.importorskip("openpyxl")


def one(folder: Path, content: Any, image: str) -> Question:
    """The first question of a JSON file whose first picture exists."""
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    (folder / image).write_bytes(picture())
    return next(iter(load_questions(json_file(folder / "official.json", content), images=folder)))


def test_a_workbook_keeps_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture())
    book = openpyxl.Workbook()
    book.active.append(["image", "question", "answer"])
    book.active.append(["cat.png", "How many?", 3])
    book.active.append([None, None, None])
    book.active.append(["cat.png", "How long?", 2.5])
    book.save(tmp_path / "a.xlsx")
    first, second = load_questions(tmp_path / "a.xlsx")
    assert (first.answers, second.answers) == (("3",), ("2.5",))


def test_a_broken_workbook_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 or not")
    with pytest.raises(QuestionSetError, match="not an XLSX file that can be read"):
        load_questions(tmp_path / "a.xlsx")


def test_an_array_of_objects_is_a_table(tmp_path: Path) -> None:
    item = {"image": "a.png", "question": "How many?", "answer": 3, "id": 7}
    found = one(tmp_path, [item], "a.png")
    assert (found.question_id, found.answers) == (7, ("3",))


def test_a_folder_of_pictures_is_asked_one_question(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture())
    found = list(load_questions(str(tmp_path), ask="What is it?"))
    assert [question.question_id for question in found] == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert {question.text for question in found} == {"What is it?"}


def test_a_folder_of_coco_has_cocos_ids(tmp_path: Path) -> None:
    for number in (42, 100000):
        (tmp_path / f"COCO_val2014_{number:012d}.jpg").write_bytes(picture())
    assert [one.image_id for one in load_questions(tmp_path, ask="What?")] == [42, 100000]


def test_ask_wants_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--ask goes with a folder of pictures"):
        load_questions(tmp_path / "a.csv", ask="What?")
    with pytest.raises(QuestionSetError, match="no picture is in this folder"):
        load_questions(tmp_path, ask="What?")


def test_a_folder_may_be_text(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture())
    path = lines_file(tmp_path, {"image": "a.png", "question": "q"})
    (only,) = load_questions(str(path), images=str(tmp_path / "pictures"))
    assert only.image == tmp_path / "pictures" / "a.png"


def test_textvqa_as_published(tmp_path: Path) -> None:
    item = {"question_id": 1, "image_id": "f1", "question": "q?", "answers": ["a"] * 10}
    found = one(tmp_path, {"data": [{**item, "set_name": "val"}]}, "f1.jpg")
    assert (found.question_id, found.answers) == (1, ("a",) * 10)


def test_docvqa_as_published(tmp_path: Path) -> None:
    item = {"questionId": 5, "question": "q?", "image": "documents/x.png", "docId": 3}
    found = one(tmp_path, {"data": [{**item, "answers": ["a", "b"]}]}, "documents/x.png")
    assert (found.question_id, found.answers) == (5, ("a", "b"))


def test_the_test_split_has_no_answers(tmp_path: Path) -> None:
    item = {"questionId": 5, "question": "q?", "image": "documents/x.png", "docId": 3}
    assert one(tmp_path, {"data": [item]}, "documents/x.png").answers == ()


def test_vizwiz_as_published(tmp_path: Path) -> None:
    item = {"image": "v.jpg", "question": "q?", "answerable": 1, "answer_type": "other"}
    found = one(
        tmp_path, [{**item, "answers": [{"answer": "a", "answer_confidence": "yes"}]}], "v.jpg"
    )
    assert (found.question_id, found.answers, found.answer_type) == ("v.jpg", ("a",), "other")


def test_gqa_as_published_keeps_the_balanced_questions(tmp_path: Path) -> None:
    item = {"question": "q?", "imageId": "n1", "answer": "a", "isBalanced": True}
    content = {"201": item, "202": {**item, "isBalanced": False}}
    found = one(tmp_path, content, "n1.jpg")
    assert (found.question_id, found.answers) == ("201", ("a",))
    assert len(load_questions(tmp_path / "official.json")) == 1


def test_scienceqa_as_published_keeps_test_questions_with_a_picture(tmp_path: Path) -> None:
    item = {
        "question": "q?",
        "choices": ["x", "y"],
        "answer": 1,
        "hint": "h",
        "image": "image.png",
        "split": "test",
    }
    content = {"3": item, "4": {**item, "image": None}, "5": {**item, "split": "train"}}
    found = one(tmp_path, content, "test/3/image.png")
    assert (found.question_id, found.right, found.answers) == ("3", 1, ("y",))
    assert len(load_questions(tmp_path / "official.json")) == 1


def test_aokvqa_as_published(tmp_path: Path) -> None:
    item = {
        "question_id": "22x",
        "image_id": 299207,
        "question": "q?",
        "choices": ["x", "y", "z", "w"],
        "correct_choice_idx": 3,
        "direct_answers": ["w"] * 10,
        "difficult_direct_answer": False,
    }
    found = one(tmp_path, [item], "000000299207.jpg")
    assert (found.right, found.labels["difficult_direct_answer"]) == (3, "no")


def test_pope_as_published(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    line = {"question_id": 1, "image": "a.jpg", "text": "Is there a cat?", "label": "no"}
    file = tmp_path / "coco_pope_random.json"  # its name, and one question a line
    file.write_text(f"{json.dumps(line)}\n{json.dumps(line | {'question_id': 2})}")
    found = list(load_questions(file))
    assert [(one.text, one.answers) for one in found] == [("Is there a cat?", ("no",))] * 2


def test_questions_take_what_is_plain() -> None:
    plain = Question(question_id=1, image="a.png", text="q", answers="star", choices=["a", "b"])
    assert plain.image == Path("a.png")
    assert (plain.answers, plain.choices) == (("star",), ("a", "b"))


@pytest.mark.parametrize("form", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_field_of_megabytes_is_a_field(tmp_path: Path, form: str) -> None:
    long = "What colour is it? " * 270_000
    (tmp_path / "a.png").write_bytes(picture())
    row, file = {"image": "a.png", "question": long, "answer": "red"}, tmp_path / f"a{form}"
    if form == ".jsonl":
        lines_file(tmp_path, {"question_id": 1, "image": "a.png", "question": long}, name=file.name)
    elif form == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist([row]), file)
    else:
        separator = {".csv": ",", ".tsv": "\t"}[form]
        file.write_text("\n".join((separator.join(row), separator.join(row.values()))))
    (found,) = load_questions(file)
    assert found.text.strip() == long.strip()
