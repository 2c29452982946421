"""Builders for questions, images and question files, with defaults."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vqa_engine.adapter import Question

YES = ("yes",) * 10


def question(**changes: Any) -> Question:
    """A question with ten ground truths, or with the fields given."""
    fields: dict[str, Any] = {
        "question_id": 7,
        "image": Path("cat.png"),
        "text": "Is it a cat?",
        "answers": YES,
    }
    return Question(**(fields | changes))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def checked(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """An RGB picture in which every pixel differs from its neighbours."""
    width, height = size
    data = bytes(
        channel
        for y in range(height)
        for x in range(width)
        for channel in (x * 7 % 256, y * 11 % 256, (x * y) % 256)
    )
    return Image.frombytes("RGB", size, data)


def lines_file(folder: Path, *rows: Any, name: str = "set.jsonl") -> Path:
    """A JSONL file; a row is an object, or bytes that stand as they are."""
    path = folder / name
    path.write_bytes(
        b"".join(
            (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
        )
    )
    return path


def asked(question_id: int, image_id: int = 1, text: str = "Is it a cat?") -> dict[str, Any]:
    """One entry of a VQA v2 questions file."""
    return {"question_id": question_id, "image_id": image_id, "question": text}


def annotation(
    question_id: int, answers: Sequence[str] = YES, image_id: int = 1, **changes: Any
) -> dict[str, Any]:
    """One entry of a VQA v2 annotations file."""
    truths = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": number}
        for number, answer in enumerate(answers, start=1)
    ]
    return {
        "question_id": question_id,
        "image_id": image_id,
        "question_type": "is it",
        "answer_type": "yes/no",
        "multiple_choice_answer": answers[0] if answers else "",
        "answers": truths,
    } | changes


def json_file(path: Path, content: Any) -> Path:
    """A JSON file of this content."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def vqa_pair(
    folder: Path, questions: Sequence[Any], annotations: Sequence[Any], **fields: Any
) -> tuple[Path, Path]:
    """A VQA v2 questions file and its annotations file."""
    fields = {"data_subtype": "val2014"} | fields
    return (
        json_file(folder / "questions.json", {"questions": list(questions), **fields}),
        json_file(folder / "annotations.json", {"annotations": list(annotations), **fields}),
    )
