"""Multiple choice by likelihood: the option that the model finds likeliest is the answer.

Two ways, as lm-evaluation-harness defines `acc` and `acc_norm` (EleutherAI, docs/task_guide.md
and lm_eval/api/task.py, `ConfigurableTask.process_results`): `likelihood` compares the
log-likelihoods of the letters that the prompt lists, all one token long as a rule;
`likelihood-text` those of the options' texts, each divided by the bytes of its text in UTF-8, or
long options would lose for their length alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_uppercase

from vqa_engine.adapter import (
    Answer,
    BatchChoiceScorer,
    ChoiceScorer,
    ChoiceScores,
    GenerationPlan,
    Question,
)
from vqa_engine.errors import AnswerError, VqaEngineError


def is_chosen(question: Question, plan: GenerationPlan) -> bool:
    """Whether this question is answered by the likelihood of its options."""
    return plan.choose is not None and bool(question.choices)


def choose(
    adapter: object, questions: Sequence[Question], plan: GenerationPlan
) -> list[Answer | VqaEngineError]:
    """For each question the likeliest option as an answer, with its probability among the options.

    The probability is the softmax over the compared scores. What is wrong with one of several
    questions is an error in its place.

    Raises:
        AnswerError: the adapter cannot score options; of a single question, it has more than 26
            of them for its letters, or a score is not a number.
        VqaEngineError: whatever the adapter raises.
    """
    options = [_options(question, plan) for question in questions]
    return [
        _answer(each, scored, plan)
        for each, scored in zip(options, _scored(adapter, questions, options, plan), strict=True)
    ]


def _scored(
    adapter: object,
    questions: Sequence[Question],
    options: Sequence[Sequence[str]],
    plan: GenerationPlan,
) -> Sequence[ChoiceScores | VqaEngineError]:
    if len(questions) > 1 and isinstance(adapter, BatchChoiceScorer):
        return adapter.score_choices_batch(questions, options, plan)
    if isinstance(adapter, ChoiceScorer):
        return [adapter.score_choices(questions[0], options[0], plan)]
    raise AnswerError(
        f"{type(adapter).__name__} cannot score choices by likelihood (ChoiceScorer); run it "
        "without --choose.",
        cause="adapter",
    )


def _comparable(known: Sequence[float]) -> bool:
    """Whether one is the greatest; some options may be impossible, but not all."""
    return not any(map(math.isnan, known)) and math.isfinite(max(known))


def _options(question: Question, plan: GenerationPlan) -> tuple[str, ...]:
    if plan.choose == "likelihood-text":
        return question.choices
    if len(question.choices) > len(ascii_uppercase):
        raise AnswerError(
            f"It has {len(question.choices)} choices and letters for 26; use --choose "
            "likelihood-text.",
            cause="adapter",
        )
    return tuple(ascii_uppercase[: len(question.choices)])


def _answer(
    options: Sequence[str], scored: ChoiceScores | VqaEngineError, plan: GenerationPlan
) -> Answer | VqaEngineError:
    if isinstance(scored, VqaEngineError):
        return scored
    known = scored.loglikelihoods
    if len(known) != len(options) or not _comparable(known):
        return AnswerError(
            f"score_choices gave {known} for {len(options)} options; it must give one "
            "log-likelihood for each.",
            cause="adapter",
        )
    lengths = [len(one.encode()) if plan.choose == "likelihood-text" else 1 for one in options]
    compared = [one / max(1, length) for one, length in zip(known, lengths, strict=True)]
    best = max(range(len(options)), key=compared.__getitem__)
    return Answer(
        options[best],
        plan=plan,
        tokens=scored.tokens,
        timings=scored.timings,
        prompt=scored.prompt,
        image_size=scored.image_size,
        logprob=known[best],
        choice=best,
        probability=1 / sum(math.exp(one - compared[best]) for one in compared),
        loglikelihoods=tuple(known),
    )
