from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.questions.tables.builders import packed, parquet_file, picture
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions import load_questions
from vqa_engine.questions.ordering import by_image
from vqa_engine.questions.table.columns import Columns, Derived
from vqa_engine.questions.table.parquet import ImageTable, Parquet
from vqa_engine.questions.table.table_set import TableSet


def rows(count: int = 10, per_image: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "question_id": str(number),
            "question": f"question {number}?",
            "answers": [{"answer": "yes", "answer_id": 1}, {"answer": "no", "answer_id": 2}],
            "image_id": number // per_image,
            "image": packed(number // per_image),
        }
        for number in range(count)
    ]


def loaded(path: Path, **columns: Any) -> TableSet:
    wanted: dict[str, Any] = {"question": "question", "image": "image", **columns}
    return TableSet.load(Parquet.open([path]), Columns(**wanted), path.parent)


def image_bytes(source: object) -> bytes:
    assert isinstance(source, Path)
    return source.read_bytes()


def test_rows_of_several_groups_keep_their_own_pictures(tmp_path: Path) -> None:
    found = load_questions(parquet_file(tmp_path / "a.parquet", rows()))
    assert [image_bytes(one.image) for one in found] == [picture(n // 2) for n in range(10)]
    assert [one.question_id for one in found] == [str(number) for number in range(10)]
    assert next(iter(found)).answers == ("yes", "no")


def test_loading_writes_no_picture_and_a_question_those_of_its_row_group(
    tmp_path: Path, cache: Path
) -> None:
    found = load_questions(parquet_file(tmp_path / "a.parquet", rows()))
    order = by_image(found)
    assert not cache.exists()
    next(order)
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 2  # rows 0, 1 and 2


def test_each_distinct_picture_is_written_once_and_undecoded(tmp_path: Path, cache: Path) -> None:
    found = load_questions(parquet_file(tmp_path / "a.parquet", rows()))
    list(found)
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert sorted(path.read_bytes() for path in files) == sorted(picture(n) for n in range(5))
    list(load_questions(tmp_path / "a.parquet"))
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_questions_about_one_picture_are_asked_together(tmp_path: Path) -> None:
    mixed = [rows()[place] for place in (0, 2, 4, 1, 3, 5)]
    found = load_questions(parquet_file(tmp_path / "a.parquet", mixed))
    assert [place for place, _ in by_image(found)] == [0, 3, 1, 4, 2, 5]


@pytest.mark.slow
def test_any_place_can_be_asked_for(tmp_path: Path) -> None:
    found = load_questions(parquet_file(tmp_path / "a.parquet", rows()))
    assert [one.text for one in found.at([9, 0, 4])] == [
        "question 9?",
        "question 0?",
        "question 4?",
    ]


def test_columns_of_images_skip_the_empty_ones(tmp_path: Path) -> None:
    several = [
        {"question": "a", "image_1": packed(1), "image_2": None, "image_3": packed(3)},
        {"question": "b", "image_1": packed(1), "image_2": packed(2), "image_3": None},
    ]
    path = parquet_file(tmp_path / "a.parquet", several)
    found = loaded(path, image=None, images=("image_1", "image_2", "image_3"))
    first, second = found
    assert [image_bytes(one) for one in first.all_images] == [picture(1), picture(3)]
    assert [image_bytes(one) for one in second.all_images] == [picture(1), picture(2)]
    assert found.max_images == 2


def test_a_list_of_images_is_all_of_them(tmp_path: Path) -> None:
    path = parquet_file(
        tmp_path / "a.parquet", [{"question": "a", "image": [packed(1), packed(2)]}]
    )
    (only,) = loaded(path)
    assert [image_bytes(one) for one in only.all_images] == [picture(1), picture(2)]


def test_bare_bytes_are_an_image(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", [{"question": "a", "image": picture(4)}])
    (only,) = loaded(path)
    assert image_bytes(only.image) == picture(4)


def test_an_image_column_of_text_is_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    path = parquet_file(tmp_path / "a.parquet", [{"question": "a", "image": "a.png"}])
    (only,) = loaded(path)
    assert only.image == tmp_path / "a.png"


def test_images_of_another_table_are_found_by_name(tmp_path: Path) -> None:
    images = [{"id": f"i{number}", "image": packed(number)} for number in range(4)]
    asked = [{"id": n, "question": "q", "imageId": f"i{3 - n}"} for n in range(4)]
    table = ImageTable((parquet_file(tmp_path / "images.parquet", images),), "id", "image")
    files = [parquet_file(tmp_path / "asked.parquet", asked)]
    columns = Columns(id="id", question="question", image="imageId", image_id="imageId")
    found = TableSet.load(Parquet.open(files, table), columns, tmp_path)
    assert [image_bytes(one.image) for one in found] == [picture(3 - n) for n in range(4)]


def test_python_lists_as_text_and_ids_as_text(tmp_path: Path) -> None:
    row = {
        "id": "7",
        "question": "q",
        "image": packed(1),
        "options": "['a', \"b's\"]",
        "answer": "B",
    }
    (only,) = loaded(
        parquet_file(tmp_path / "a.parquet", [row]),
        id=Derived("id", form="int"),
        choices="options",
        right=Derived("answer", form="letter"),
        lists={"options": "literal"},
    )
    assert (only.question_id, only.choices, only.right) == (7, ("a", "b's"), 1)
    assert only.answers == ("b's",)


def test_the_digest_is_of_the_questions(tmp_path: Path) -> None:
    one = load_questions(parquet_file(tmp_path / "a.parquet", rows(), group=3))
    same = load_questions(parquet_file(tmp_path / "b.parquet", rows(), group=5))
    other = load_questions(parquet_file(tmp_path / "c.parquet", rows(9)))
    assert one.digest() == same.digest() != other.digest()


def test_a_missing_column_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", rows())
    with pytest.raises(QuestionSetError, match="no column 'hint'; the columns are 'question_id'"):
        loaded(path, labels={"hint": "hint"})
    (tmp_path / "b.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(QuestionSetError, match="not a parquet file"):
        load_questions(tmp_path / "b.parquet")
