"""The files of benchmarks as their authors publish them, recognised by their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from vqa_engine.questions.table.columns import Columns, Derived
from vqa_engine.questions.table.json_items import KEY
from vqa_engine.questions.table.table_set import Keep


@frozen(kw_only=True)
class Form:
    """A published file: its fields, what they are, and which rows count."""

    benchmark: str
    fields: frozenset[str]
    columns: Columns
    keep: Keep | None = None


def _balanced(row: Mapping[str, Any]) -> bool:
    return row.get("isBalanced") is not False


def _tested(row: Mapping[str, Any]) -> bool:
    return bool(row.get("image")) and row.get("split", "test") == "test"


FORMS = (
    Form(
        benchmark="TextVQA",
        fields=frozenset(("question_id", "image_id", "question", "set_name")),
        columns=Columns(
            id="question_id",
            image="{image_id}.jpg",
            image_id="image_id",
            question="question",
            answers=("answers",),
        ),
    ),
    Form(
        benchmark="DocVQA",
        fields=frozenset(("questionId", "question", "image", "docId")),
        columns=Columns(
            id="questionId",
            image="image",
            image_id="image",
            question="question",
            answers=("answers",),
        ),
    ),
    Form(
        benchmark="VizWiz",
        fields=frozenset(("image", "question", "answerable")),
        columns=Columns(
            id="image",
            image="image",
            question="question",
            answers=("answers",),
            answer_type="answer_type",
        ),
    ),
    Form(
        benchmark="GQA",
        fields=frozenset(("imageId", "question", KEY)),
        columns=Columns(
            id=KEY,
            image="{imageId}.jpg",
            image_id="imageId",
            question="question",
            answers=("answer",),
        ),
        keep=_balanced,
    ),
    Form(
        benchmark="ScienceQA",
        fields=frozenset(("question", "choices", "answer", "hint", "image", KEY)),
        columns=Columns(
            id=KEY,
            image="{split}/{_key}/image.png",
            question="question",
            choices="choices",
            right=Derived("answer", form="index"),
            labels={"hint": "hint", "subject": "subject", "grade": "grade"},
        ),
        keep=_tested,
    ),
    Form(
        benchmark="A-OKVQA",
        fields=frozenset(("question_id", "image_id", "question", "direct_answers")),
        columns=Columns(
            id="question_id",
            image="{image_id:012d}.jpg",
            image_id="image_id",
            question="question",
            choices="choices",
            right=Derived("correct_choice_idx", form="index"),
            answers=("direct_answers",),
            labels={"difficult_direct_answer": "difficult_direct_answer"},
        ),
    ),
    Form(
        benchmark="OCRBench",
        fields=frozenset(("dataset_name", "image_path", "question", "answers")),
        columns=Columns(
            id="id",
            image="image_path",
            question="question",
            answers=("answers",),
            question_type="type",
            labels={"dataset": "dataset_name"},
        ),
    ),
)


def recognised(row: Mapping[str, Any]) -> Form | None:
    """The form that a file's first item has."""
    return next((form for form in FORMS if form.fields <= row.keys()), None)
