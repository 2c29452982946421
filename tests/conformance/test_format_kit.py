"""The kit for formats: ours pass, and each bad one fails the test made for it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.questions.tables.builders import picture
from vqa_engine.adapter import Question
from vqa_engine.images import open_image
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.source import Source
from vqa_engine.testing import FormatConformance
from vqa_engine.testing.standard import GUARD, standard_tests

TESTS = sorted(standard_tests(FormatConformance) - {GUARD})
BROKEN = "test_a_broken_file_is_an_error_of_ours"
ROWS = [
    {"question_id": number, "image": f"{number}.png", "question": "What?", "answer": "cat"}
    for number in range(3)
]


def pictures(folder: Path) -> None:
    for row in ROWS:
        (folder / str(row["image"])).write_bytes(picture())


def table(folder: Path, delimiter: str, name: str) -> Path:
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    return folder / name


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(pyarrow.Table.from_pylist(ROWS), folder / "q.parquet")
    return folder / "q.parquet"


def sheet(folder: Path) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (list(ROWS[0]), *(list(row.values()) for row in ROWS)):
        book.active.append(row)
    book.save(folder / "q.xlsx")
    return folder / "q.xlsx"


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
WRITERS: dict[str, Callable[[Path], Path]] = {
    ".csv": lambda folder: table(folder, ",", "q.csv"),
    ".tsv": lambda folder: table(folder, "\t", "q.tsv"),
    ".json": lambda folder: text(folder, "q.json", json.dumps(ROWS)),
    ".jsonl": lambda folder: text(folder, "q.jsonl", LINES),
    ".parquet": parquet,
    ".xlsx": sheet,
}


def suite(form: Any, writer: Callable[[Path], Path]) -> FormatConformance:
    def write(_self: object, folder: Path) -> Path:
        pictures(folder)
        return writer(folder)

    made = type("Suite", (FormatConformance,), {"form": form, "write": write})()
    assert isinstance(made, FormatConformance)
    return made


def run(checked: FormatConformance, test: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    given: dict[str, Any] = {"tmp_path": folder}
    if "pictures_stay_closed" in test:
        given["monkeypatch"] = patch
    if test != BROKEN:
        getattr(checked, test)(**given)
        return
    for damage in ("empty", "half", "garbage"):
        (folder / damage).mkdir()
        checked.test_a_broken_file_is_an_error_of_ours(folder / damage, damage)


def test_every_format_of_ours_is_tried() -> None:
    ours = [one for one in plugins.find(plugins.QUESTION_SETS) if one.distribution == "vqa-engine"]
    assert {one.name for one in ours} == {*WRITERS, "shapes"}


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("form", WRITERS)
def test_ours_pass(form: str, test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(suite(form, WRITERS[form]), test, tmp_path / "x", monkeypatch)


@pytest.mark.parametrize("test", [one for one in TESTS if one != BROKEN])
def test_a_set_without_a_file_passes(
    test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(_self: object, _folder: Path) -> Source:
        return Source(text="shapes:count=4", options="count=4")

    checked = type("Suite", (FormatConformance,), {"form": "shapes", "source": source})()
    run(checked, test, tmp_path / "x", monkeypatch)


def questions(source: Source) -> list[Question]:
    rows = json.loads(source.file.read_text())
    return [
        Question(
            question_id=row["question_id"],
            image=source.folder / row["image"],
            image_root=source.folder,
            text=row["question"],
            answers=row["answer"],
        )
        for row in rows
    ]


def changed(**facts: Any) -> Callable[[Source], GivenQuestions]:
    return lambda source: GivenQuestions([evolve(one, **facts) for one in questions(source)])


def opening(source: Source) -> GivenQuestions:
    found = questions(source)
    for one in found:
        open_image(one)
    return GivenQuestions(found)


class Backwards(GivenQuestions):
    def at(self, places: Iterable[int]) -> Iterator[Question]:
        return super().at(sorted(places))


class Long(GivenQuestions):
    def __len__(self) -> int:
        return 7


class Once(GivenQuestions):
    def __iter__(self) -> Iterator[Question]:
        self.rest = getattr(self, "rest", None) or super().__iter__()
        return self.rest


class Twins(GivenQuestions):
    def __iter__(self) -> Iterator[Question]:
        return (evolve(one, question_id=1) for one in super().__iter__())


class Elsewhere(GivenQuestions):
    def digest(self) -> str:
        return "0" * 40


BAD = [
    (lambda source: Twins(questions(source)), "test_questions_are_known_by_their_ids", "one id"),
    (
        changed(image=Path("/no.png"), image_root=None),
        "test_every_picture_can_be_opened",
        "question 0: .* cannot be opened: .*/no.png: there is no such file",
    ),
    (
        changed(image_root=None),
        "test_a_path_cannot_leave_the_folder_of_the_images",
        "question 0 has no image_root",
    ),
    (
        opening,
        "test_pictures_stay_closed_until_they_are_asked_about",
        "12 pictures were decoded",
    ),
    (
        lambda source: Backwards(questions(source)),
        "test_questions_come_in_any_order",
        "another order",
    ),
    (
        lambda source: Long(questions(source)),
        "test_it_is_a_question_set",
        "its length is not the number of questions",
    ),
    (
        lambda source: Once(questions(source)),
        "test_it_can_be_iterated_again",
        "a second iteration gives other questions",
    ),
    (
        lambda source: Elsewhere(questions(source)),
        "test_the_digest_is_of_what_is_asked",
        "not a SHA-256 in hex",
    ),
    (
        lambda source: GivenQuestions(questions(source)),
        BROKEN,
        "a damaged file raises JSONDecodeError",
    ),
    (questions, "test_it_is_a_question_set", "it does not implement QuestionSet"),
]


@pytest.mark.parametrize(("form", "test", "why"), BAD)
def test_a_bad_one_fails(
    form: Any, test: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=why):
        run(suite(form, WRITERS[".json"]), test, tmp_path / "x", monkeypatch)
