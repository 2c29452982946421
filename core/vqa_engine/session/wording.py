"""What a model gets of a question's text: the user's wording of it."""

from __future__ import annotations

from string import ascii_uppercase

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.adapter.records import OPTIONS, QUESTION


def said(question: Question, plan: GenerationPlan) -> tuple[str, bool]:
    """The text of a question, and whether it is the whole prompt.

    The choices are lettered, and follow the question where the prompt has no place for them.
    """
    if plan.prompt is None:
        return question.text, question.worded
    lettered = "" if question.worded else _lettered(question.choices)
    if OPTIONS in plan.prompt:
        text, options = question.text, lettered.removeprefix("\n")
    else:
        text, options = question.text + lettered, ""
    # The options first: a question's own text may contain a placeholder.
    return plan.prompt.replace(OPTIONS, options).replace(QUESTION, text), True


def _lettered(choices: tuple[str, ...]) -> str:
    pairs = zip(ascii_uppercase, choices, strict=False)
    return "".join(f"\n{letter}. {choice}" for letter, choice in pairs)
