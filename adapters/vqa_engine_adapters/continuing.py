"""How an option joins a prompt whose answer it may be, in token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
