"""What a model gets of a question's text, and what becomes of the text of its answer."""

from __future__ import annotations

from string import ascii_uppercase

from attrs import evolve

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.adapter.records import AS_GIVEN, OPTIONS, QUESTION


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


def as_planned(outcome: object, plan: GenerationPlan) -> object:
    """An answer whose adapter names no plan, with the one that it was given."""
    if isinstance(outcome, Answer) and outcome.plan is AS_GIVEN:
        return evolve(outcome, plan=plan)
    return outcome


def finished(answer: Answer, plan: GenerationPlan) -> Answer:
    """The answer without what follows a stop text."""
    places = [place for stop in plan.stop if (place := answer.text.find(stop)) >= 0]
    if not places:
        return answer
    return evolve(answer, text=answer.text[: min(places)].rstrip(), finish_reason="stop")


def _lettered(choices: tuple[str, ...]) -> str:
    pairs = zip(ascii_uppercase, choices, strict=False)
    return "".join(f"\n{letter}. {choice}" for letter, choice in pairs)
