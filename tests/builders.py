"""Builders: records with defaults, images, and distributions that offer plugins."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image

from vqa_engine.adapter import Question


def a_question(question_id: int | str = 1, **facts: Any) -> Question:
    """A yes/no question over a red square."""
    defaults: dict[str, Any] = {
        "image": b"",
        "text": "Is it red?",
        "answers": ("yes",) * 10,
        "question_type": "is it",
        "answer_type": "yes/no",
    }
    return Question(question_id=question_id, **{**defaults, **facts})


def questions(count: int, **facts: Any) -> list[Question]:
    """Questions with the ids 0, 1, 2, …"""
    return [a_question(number, **facts) for number in range(count)]


def png(size: tuple[int, int] = (8, 8), colour: str = "red") -> bytes:
    """An encoded picture."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def a_distribution(  # noqa: PLR0913  each is a fact of the distribution
    folder: Path,
    name: str,
    entry_points: dict[str, str],
    *,
    version: str = "1.0",
    modules: dict[str, str] | None = None,
    group: str = "vqa_engine.adapters",
) -> None:
    """Install a distribution in `folder`: its metadata and its modules."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "\n".join(f"{key} = {value}" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
