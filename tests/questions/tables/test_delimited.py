from __future__ import annotations

import base64
import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.questions.tables.builders import picture
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions import load_questions
from vqa_engine.questions.presence import check_images
from vqa_engine.scoring import Scoreboard
from vqa_engine.scoring.defaults import default_metric


def table(folder: Path, text: str, name: str = "a.csv", encoding: str = "utf-8") -> Path:
    (folder / "cat.png").write_bytes(picture(1))
    path = folder / name
    path.write_text(text, encoding=encoding, newline="")
    return path


def test_the_columns_are_found_by_name(tmp_path: Path) -> None:
    path = table(tmp_path, 'image,question,answer\ncat.png,"What, exactly?",a cat\n')
    (only,) = load_questions(path)
    assert (only.text, only.answers) == ("What, exactly?", ("a cat",))
    assert only.image == tmp_path / "cat.png"
    assert only.origin == "a.csv:2"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, encoding: str, separator: str) -> None:
    lines = ["Image;Question;Answer", "cat.png;Wie heißt es?;Mieze"]
    text = "\r\n".join(lines).replace(";", separator)
    (only,) = load_questions(table(tmp_path, text, encoding=encoding))
    assert (only.text, only.answers) == ("Wie heißt es?", ("Mieze",))


def test_a_row_that_states_the_separator_is_passed_over(tmp_path: Path) -> None:
    (only,) = load_questions(table(tmp_path, "sep=;\nimage;question\ncat.png;a,b,c,d?\n"))
    assert only.text == "a,b,c,d?"


def test_text_of_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question\ncat.png,Wie heißt es?\n", encoding="cp1252")
    with pytest.raises(QuestionSetError, match="not UTF-8 text; in Excel, save it as 'CSV UTF-8"):
        load_questions(path)


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "file,frage,antwort\ncat.png,Was?,Katze\n")
    with pytest.raises(ConfigurationError, match=r"'frage', 'antwort'. Name it with --columns"):
        load_questions(path)
    (only,) = load_questions(path, columns={"question": "frage", "answers": "antwort"})
    assert (only.text, only.answers) == ("Was?", ("Katze",))
    with pytest.raises(ConfigurationError, match="no column 'fragen'"):
        load_questions(path, columns={"question": "fragen"})
    with pytest.raises(ConfigurationError, match="'picture' is not a part of a question"):
        load_questions(path, columns={"picture": "file"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,question\ncat.png,a,b\n", "it has 3 cells, and the first row names 2"),
        ("image,question\ncat.png,\n", "its question is empty"),
        ("image,question\n", "it holds no question"),
        ("", "its first row names no columns"),
        ("id,image,question\n1,cat.png,a\n1,cat.png,b\n", "duplicate question_id"),
    ],
)
def test_broken_tables_are_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(QuestionSetError, match=reason):
        load_questions(table(tmp_path, text))


def test_several_answers_in_a_cell_are_a_list(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question,answers\ncat.png,a?,\"['a', 'b']\"\n")
    (only,) = load_questions(path)
    assert only.answers == ("a", "b")


def test_missing_pictures_are_found_before_a_model_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path, "image,question,answer\ncat.png,a,b\nno.png,a,b\n")
    check_images(load_questions(path))
    assert "1 of 2 images are missing" in caplog.text
    assert "no.png (a.csv:3)" in caplog.text
    with pytest.raises(QuestionSetError, match=r"its image does not exist: .*--images"):
        check_images(load_questions(table(tmp_path, "image,question\nno.png,a\n")))


@pytest.mark.skipif(os.sep != "/", reason="a backslash separates folders here")
def test_paths_of_windows_are_known_for_what_they_are(tmp_path: Path) -> None:
    path = table(tmp_path, "image;question\npictures\\a.png;a\npictures\\b.png;a\n")
    with pytest.raises(QuestionSetError, match=r"none of its 2 images exists: .* with / for"):
        check_images(load_questions(path))


def test_all_columns_that_are_missing_are_named_at_once(tmp_path: Path) -> None:
    path = table(tmp_path, "Bild;Frage;Antwort\ncat.png;was?;Katze\n")
    wanted = "--columns image=COLUMN --columns question=COLUMN"
    with pytest.raises(ConfigurationError, match=wanted):
        load_questions(path)


def test_choices_that_are_one_text_are_answered_with_how_to_write_them(tmp_path: Path) -> None:
    path = table(tmp_path, "image;question;choices;answer\ncat.png;?;red, blue;red\n")
    with pytest.raises(QuestionSetError, match=r"in columns A, B, … or as a list: \[\"red\""):
        list(load_questions(path))


def test_missing_ground_truths_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_questions(table(tmp_path, "image,question,answer\ncat.png,a,b\ncat.png,a,\n"))
    assert "1 of 2 questions have no ground truth" in caplog.text


def test_vlmevalkits_tsv_brings_its_pictures(tmp_path: Path, cache: Path) -> None:
    one, two = (base64.b64encode(picture(n)).decode() for n in (1, 2))
    header = "index\timage\tquestion\tA\tB\tC\tanswer\tcategory\n"
    path = table(
        tmp_path,
        f"{header}0\t{one}\tWhich?\ta cat\ta dog\t\tB\tpets\n"
        f"1000000\t0\tWhich?\ta dog\ta cat\t\tA\tpets\n"
        f"2\t{two}\tWhich?\ta\tb\tc\tC\tpets\n",
        name="a.tsv",
    )
    first, rotated, last = load_questions(path)
    assert isinstance(first.image, Path)
    assert first.image.read_bytes() == picture(1)
    assert rotated.image == first.image
    assert (first.right, rotated.right, last.right) == (1, 0, 2)
    assert (first.choices, last.choices) == (("a cat", "a dog"), ("a", "b", "c"))
    assert first.labels == {"category": "pets", "rotation": "0"}
    assert len([one for one in cache.rglob("*") if one.is_file()]) == 2


def mmbench(folder: Path, *indices: int) -> Path:
    """VLMEvalKit's file of questions with three choices; an index past a million is a rotation."""
    image = base64.b64encode(picture(1)).decode()
    rows = [
        f"{index}\t{image if index < 1_000_000 else index % 1_000_000}\tWhich?\tx\ty\tz\tA"
        for index in indices
    ]
    return table(folder, "\n".join(["index\timage\tquestion\tA\tB\tC\tanswer", *rows]), "m.tsv")


def test_the_rotations_of_vlmevalkits_tsv_are_one_group(tmp_path: Path) -> None:
    found = load_questions(mmbench(tmp_path, 3, 7, 1_000_007, 1_000_003, 2_000_003))
    assert [one.group for one in found] == [3, 7, 7, 3, 3]
    assert [one.labels["rotation"] for one in found] == ["0", "0", "1", "1", "2"]
    assert len(load_questions(tmp_path / "m.tsv", limit=1)) == 3
    chosen = default_metric(found).metric
    assert chosen.name == "circular"
    board = Scoreboard(chosen)
    for question in found:
        board.add("A" if question.group == 3 else "B", question)
    figures = board.snapshot().figures
    assert (figures["circular"].value, figures["incomplete groups (not counted)"].value) == (100, 1)


@pytest.mark.parametrize("indices", [(3, 7, 12), (3, 1_000_007), (1_000_003,)])
def test_a_large_id_alone_is_no_rotation(tmp_path: Path, indices: tuple[int, ...]) -> None:
    found = load_questions(mmbench(tmp_path, *indices))
    assert [one.group for one in found] == [None] * len(indices)
    assert all("rotation" not in one.labels for one in found)


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0")),
        ).filter(lambda row: bool(row[0].strip())),
        min_size=1,
        max_size=5,
    ),
    separator=st.sampled_from(",;\t"),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_a_spreadsheet_writes_comes_back(
    tmp_path: Path, rows: list[tuple[str, str]], separator: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(["image", "question", "answer"])
    writer.writerows(["cat.png", *row] for row in rows)
    found = list(load_questions(table(tmp_path, text.getvalue())))
    assert [one.text for one in found] == [question for question, _ in rows]
    assert [one.answers for one in found] == [
        (answer,) if answer.strip() else () for _, answer in rows
    ]


def test_columns_that_say_nothing_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path, "image,question,answer,notes,a,b,c,d,e\ncat.png,?,cat,,,,,,\n")
    load_questions(path)
    assert "a.csv: not used: the columns 'notes', 'a', 'b', 'c', 'd' and 1 more" in caplog.text
    caplog.clear()
    load_questions(table(tmp_path, "image,question,answer,notes\ncat.png,?,cat,\n"))
    assert "not used: the column 'notes' (" in caplog.text
    caplog.clear()
    load_questions(table(tmp_path, "image,question,answer,category\ncat.png,?,cat,pets\n"))
    assert "not used" not in caplog.text
