"""One row of a table as a question."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from vqa_engine.adapter import QuestionId
from vqa_engine.errors import QuestionSetError
from vqa_engine.questions.spool import Record
from vqa_engine.questions.table import cells
from vqa_engine.questions.table.columns import ROW, Columns

Row = Mapping[str, Any]


def record_of(columns: Columns, row: Row, number: int) -> Record:
    """The question of a row; `number` is the row's, for messages.

    Raises:
        QuestionSetError: the row is no question.
    """
    if columns.empty:
        row = {name: None if value in columns.empty else value for name, value in row.items()}
    question = cells.text(cells.cell(row, columns.question))
    images = _images(columns, row)
    question_id = cells.identity(cells.cell(row, columns.id), columns.id)
    for part, value in (("question", question), ("image", images), ("id", question_id)):
        if value is None or value == ():
            raise QuestionSetError(f"its {part} is empty")
    assert question is not None
    assert question_id is not None
    choices = _choices(columns, row)
    right = _right(columns, row, choices)
    return Record(
        question_id=question_id,
        text=question,
        number=number,
        images=images,
        answers=_answers(columns, row, choices, right),
        image_id=_id(columns, row, "image_id"),
        question_type=_text(columns, row, "question_type"),
        answer_type=_text(columns, row, "answer_type"),
        choices=choices,
        right=right,
        group=_id(columns, row, "group"),
        labels=_labels(columns, row),
    )


def _images(columns: Columns, row: Row) -> tuple[str, ...]:
    """References to the images: paths, or what else tells one in the table from others."""
    found: list[str] = []
    for wanted in columns.pictures:
        value = cells.cell(row, wanted)
        several = value if isinstance(value, list) else [value]
        for one in several:
            name = one.get("path") if isinstance(one, Mapping) else cells.text(one)
            if isinstance(one, Mapping) or name is not None:
                found.append(name or f"{wanted}@{row[ROW]}")
    return tuple(found)


def _choices(columns: Columns, row: Row) -> tuple[str, ...]:
    if columns.inside is not None:
        return tuple(ascii_uppercase[: columns.inside])
    if columns.choices is None:
        return ()
    if isinstance(columns.choices, str):
        notation = columns.lists.get(columns.choices)
        return cells.texts(cells.optional(row, columns.choices), notation)
    return cells.texts([row.get(name) for name in columns.choices])


def _right(columns: Columns, row: Row, choices: tuple[str, ...]) -> int | None:
    if columns.right is None or not choices:
        return None
    return cells.right(cells.optional(row, columns.right), columns.right, choices)


def _answers(
    columns: Columns, row: Row, choices: tuple[str, ...], right: int | None
) -> tuple[str, ...]:
    if columns.answers is None:
        return () if right is None else (choices[right],)
    wanted = columns.answers if isinstance(columns.answers, tuple) else (columns.answers,)
    return tuple(
        answer
        for one in wanted
        for answer in cells.texts(
            cells.optional(row, one), columns.lists.get(one) if isinstance(one, str) else None
        )
    )


def _labels(columns: Columns, row: Row) -> dict[str, str]:
    values = {
        name: cells.text(cells.optional(row, wanted)) for name, wanted in columns.labels.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def _id(columns: Columns, row: Row, part: str) -> QuestionId | None:
    wanted = getattr(columns, part)
    return None if wanted is None else cells.identity(cells.optional(row, wanted), wanted)


def _text(columns: Columns, row: Row, part: str) -> str | None:
    wanted = getattr(columns, part)
    return None if wanted is None else cells.text(cells.optional(row, wanted))
