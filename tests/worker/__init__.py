"""Tests of the process boundary: real processes, real signals."""

from __future__ import annotations

from vqa_engine.adapter import GenerationPlan, Question

MARK = "VQA_ENGINE_TEST_MARK"
"""The environment variable that marks every process that a test starts."""

PLAN = GenerationPlan()


def ask(text: str, question_id: int | str = 1, image: object = b"abc", **more: object) -> Question:
    """A question with only what a test is about."""
    return Question(question_id=question_id, text=text, image=image, **more)  # type: ignore[arg-type]
