# ruff: noqa: E501  a row a line
"""Each shipped card over a small copy of its data set's real layout (column names and types)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import evolve

from tests.checkpoints.fake_hub import FakeHub, serving, use
from tests.questions.tables.builders import packed, parquet_file
from vqa_engine.adapter import Question
from vqa_engine.questions.question_set import worded
from vqa_engine.questions.tasks import Task, find, load_task
from vqa_engine.scoring import Scoreboard, metrics

ASKED = {"question": "What is it?", "image": packed(1)}
VOTES = [
    {"answer": "star", "answer_confidence": "yes", "answer_id": number} for number in range(1, 11)
]
KIND = {"question_type": "what", "answer_type": "other"}

ROWS: dict[str, list[dict[str, Any]]] = {
    "vqav2": [{**ASKED, **KIND, "answers": VOTES, "image_id": 262148, "question_id": 262148000}],
    "textvqa": [{**ASKED, "image_id": "003a8ae2", "question_id": 34602, "answers": ["star"] * 10}],
    "vizwiz": [{**ASKED, "question_id": "VizWiz_val_0.jpg", "answers": ["star"] * 10, "category": "x"}],
    "okvqa": [{**ASKED, **KIND, "question_id": "2971475", "answers": ["star"] * 10}],
    "docvqa": [
        {**ASKED, "questionId": "49153", "docId": 14465, "question_types": ["form", "layout"],
         "answers": ["star", "a star"]}
    ],
    "infographicvqa": [
        {**ASKED, "questionId": "65718", "answer_type": ["single span"], "answers": ["star"]}
    ],
    "chartqa": [{**ASKED, "type": "human_test", "answer": "star"}],
    "gqa": [{"id": "201307251", "imageId": "n161313", "question": "What is it?", "answer": "star"}],
    "pope": [
        {**ASKED, "id": "0", "question_id": "1", "answer": "yes", "category": "random",
         "image_source": "COCO_val2014_000000310196"}
    ] * 2,
    "mme": [{**ASKED, "question_id": f"{kind}/1.jpg", "answer": answer, "category": kind}
            for kind in ("color", "code_reasoning") for answer in ("Yes", "No")],
    "scienceqa_img": [
        {**ASKED, "choices": ["star", "sun"], "answer": 0, "hint": "", "subject": "natural science",
         "grade": "grade2"}
    ],
    "ai2d": [{**ASKED, "options": ["sun", "star", "moon", "sky"], "answer": "1"}],
    "mmstar": [
        {**ASKED, "index": 0, "answer": "A", "category": "math", "l2_category": "geometry",
         "question": "What is it?\nOptions: A: star, B: sun, C: moon, D: sky"}
    ],
    "realworldqa": [{**ASKED, "answer": "star"}],
    "ocrbench": [{**ASKED, "dataset": "HME100k", "question_type": "formula", "answer": ["star"]}],
    "mmbench": [
        {**ASKED, "index": index, "A": "star", "B": "sun", "C": "nan", "D": "nan", "hint": "nan",
         "answer": "A", "category": "object", "L2-category": "perception"}
        for index in (241, 1000241)
    ],
    "aokvqa": [
        {**ASKED, "question_id": "22MexNkB", "choices": ["star", "sun"], "correct_choice_idx": 0,
         "direct_answers": "['star', 'star', 'star']", "difficult_direct_answer": False}
    ],
    "hallusionbench": [
        {**ASKED, "category": "VD", "subcategory": "chart", "set_id": "0", "figure_id": "1",
         "question_id": "0", "gt_answer": "1"}
    ],
    "mmmu": [
        {"id": "validation_Art_1", "question": "<image 1> or <image 2>?", "options": "['star', 'sun']",
         "answer": "A", "question_type": "multiple-choice", "topic_difficulty": "Easy",
         **{f"image_{n}": packed(n) if n < 3 else None for n in range(1, 8)}},
        {"id": "validation_Art_2", "question": "<image 1>?", "options": "[]",
         "answer": "['star', 'stars']", "question_type": "open", "topic_difficulty": "Easy",
         **{f"image_{n}": packed(n) if n < 2 else None for n in range(1, 8)}},
    ],
    "blink": [
        {"idx": "val_Counting_1", "prompt": "How many? (A) 1 (B) 2", "choices": ["1", "2"],
         "answer": "(A)", "sub_task": "Counting", "image_1": packed(1), "image_2": packed(2),
         "image_3": None, "image_4": None}
    ],
    "seedbench": [
        {"question": "What?", "image": [packed(1)], "question_id": "101669", "question_type_id": 1,
         "choice_a": "star", "choice_b": "sun", "choice_c": "x", "choice_d": "y", "answer": "A",
         "data_type": kind}
        for kind in ("image", "video")
    ],
    "mathvista": [
        {"pid": "1", "query": "What?", "decoded_image": packed(1), "choices": ["star", "sun"],
         "answer": "star", "question_type": "multi_choice", "answer_type": "text",
         "precision": None, "unit": None},
        {"pid": "2", "query": "What?", "decoded_image": packed(1), "choices": None,
         "answer": "1.5", "question_type": "free_form", "answer_type": "float",
         "precision": 1.0, "unit": "cm"},
    ],
}  # fmt: skip

ROWS["aokvqa_direct"] = ROWS["aokvqa"]

RIGHT = {"pope": "yes", "mme": "Yes", "hallusionbench": "Yes", "mmstar": "A", "mmbench": "A"}


def write(task: Task, folder: Path) -> None:
    """Files of the card's own patterns, in row groups of one row."""
    (pattern,) = task.card.data.files
    parquet_file(folder / pattern.replace("*", "x"), ROWS[task.name], group=1)
    if task.card.data.joined is not None:
        (images,) = task.card.data.joined.files
        parquet_file(folder / images.replace("*", "x"), [{"id": "n161313", "image": packed(1)}])


def of_any_size(task: Task, **changes: Any) -> Task:
    """The card for as many questions as there are."""
    data = msgspec.structs.replace(task.card.data, questions=None, **changes)
    return evolve(task, card=msgspec.structs.replace(task.card, data=data))


def served(name: str, folder: Path) -> Task:
    """The card over local files."""
    task = of_any_size(find.task(name), hub=None)
    write(task, folder)
    return evolve(task, folder=folder)


def said(question: Question, name: str) -> str:
    return RIGHT.get(name) or (question.answers[0] if question.answers else "")


@pytest.mark.parametrize("name", find.names())
def test_a_right_answer_scores_and_the_prompt_is_whole(name: str, tmp_path: Path) -> None:
    found = load_task(served(name, tmp_path))
    questions = list(worded(found, "some_adapter"))
    assert questions[0].worded
    assert "{" not in questions[0].text
    board = Scoreboard(metrics(found.metrics)[0])
    board.add(said(questions[0], name), questions[0])
    table = board.snapshot()
    assert table.failure == ""
    assert table.overall.percent == 100


def test_several_pictures_keep_their_order(tmp_path: Path) -> None:
    first, second = load_task(served("mmmu", tmp_path))
    assert (len(first.all_images), len(second.all_images)) == (2, 1)
    assert (first.right, second.choices, second.answers) == (0, (), ("star", "stars"))


def test_a_list_with_one_picture_is_that_picture_and_videos_are_left_out(tmp_path: Path) -> None:
    assert len(load_task(served("seedbench", tmp_path))) == 1


def test_rotations_are_groups_and_an_empty_hint_has_no_line(tmp_path: Path) -> None:
    found = load_task(served("mmbench", tmp_path))
    first, second = worded(found, "x")
    assert (first.group, second.group, second.labels["rotation"]) == (241, 241, "1")
    assert first.choices == ("star", "sun")
    assert first.text.startswith("What is it?\nA. star\nB. sun\nAnswer with")
    assert len(load_task(served("mmbench", tmp_path), limit=1)) == 2


@pytest.mark.slow
def test_every_card_is_downloaded_at_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {name: of_any_size(find.task(name)) for name in find.names()}
    ids = {str(one.card.data.hub) for one in tasks.values()}
    hub = FakeHub({f"datasets/{name}": tmp_path / name for name in ids})
    for task in tasks.values():
        write(task, tmp_path / str(task.card.data.hub))
    with serving(hub):
        use(hub.url, tmp_path / "hub-cache", monkeypatch)
        for name, task in tasks.items():
            found = load_task(task)
            assert found.data_commit == f"{task.card.data.hub}@{task.card.data.revision}", name
            question = next(iter(found))
            assert isinstance(question.image, Path), name
            assert question.image.read_bytes() == packed(1)["bytes"], name
