"""How options join a prompt whose answer they may be, in token ids and rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import AnswerError


def option_ids(tokenizer: Any, prompt: str, options: Sequence[str]) -> list[tuple[int, ...]]:
    """The ids of each option behind a formatted prompt, without an end token.

    A space goes between the two unless the prompt ends with white space. Prompt and option are
    tokenised together, and the option's ids are those behind the prompt's own, as
    lm-evaluation-harness does it (lm_eval/api/model.py, `TemplateLM._encode_pair`).

    Raises:
        AnswerError: an option has no token of its own.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    gap, before = "" if prompt[-1:].isspace() else " ", ids(prompt)
    found = [tuple(ids(f"{prompt}{gap}{option}")[len(before) :]) for option in options]
    for option, own in zip(options, found, strict=True):
        if not own:
            raise AnswerError(f"The option {option!r} has no token of its own.", cause="adapter")
    return found


OptionIds = Sequence[Sequence[int]]
"""The token ids of each option of a question."""


@frozen
class Row:
    """What the log-likelihoods of some options are read from: a prompt with their beginning.

    `asked` is the question's place among those that are scored, `options` the places of those
    of its options that begin alike and end in one more token each, `last`. Options of one
    token, such as letters, need no more than the prompt.
    """

    asked: int
    begun: tuple[int, ...]
    options: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def wanted(self) -> list[tuple[int, int]]:
        """The tokens whose log-probability is needed, each with its place behind the prompt."""
        return [*enumerate(self.begun), *((len(self.begun), token) for token in self.last)]

    def read(self, logprobs: Sequence[float], found: Sequence[list[float]]) -> None:
        """Put the log-likelihoods of the row's options where `found` has those of all.

        `logprobs` are those of `wanted`, in its order.
        """
        begun = sum(logprobs[: len(self.begun)])
        for place, logprob in zip(self.options, logprobs[len(self.begun) :], strict=True):
            found[self.asked][place] = begun + logprob


def rows_of(options: Sequence[OptionIds]) -> list[Row]:
    """The rows for the options of several questions."""
    places: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for number, each in enumerate(options):
        for place, option in enumerate(each):
            places.setdefault((number, tuple(option[:-1])), []).append(place)
    return [
        Row(number, begun, tuple(found), tuple(options[number][place][-1] for place in found))
        for (number, begun), found in places.items()
    ]


def rows(question: Question, plan: GenerationPlan) -> int:
    """The rows that a question takes at most: options scored by their texts take one each.

    Letters are one token as a rule, so the prompt alone has the probabilities of all.
    """
    by_text = plan.choose == "likelihood-text" and question.choices
    return len(question.choices) if by_text else 1


def within(questions: Sequence[Question], plan: GenerationPlan, most: int) -> int:
    """How many of the leading questions take so many rows at most; at least one."""
    totals = accumulate(rows(one, plan) for one in questions)
    return max(1, sum(1 for total in totals if total <= most))
