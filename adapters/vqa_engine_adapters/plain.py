"""Text of a question as nothing but text: no string in it becomes a control token.

A tokenizer turns the name of a special token into that token wherever it reads it. `</s>` in
a question would end the turn, and `<image>` ask for a picture. So a space goes behind the first
character of each such name; a question without one is left as it is, and so are its ids.
Tokenizers' own switch (`split_special_tokens`) is for a whole prompt, with the chat template's
tokens, and processors do not hand it on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from attrs import evolve, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import AnswerError

_CONTROL = r"<\|[^|<>\s]{1,64}\|>|</?s>"
"""The usual form of such names: some processors read ones that no tokenizer lists, as Phi's
`<|image_2|>` (mlx_vlm/models/phi3_v/processing_phi3_v.py)."""


@frozen
class Plain:
    """Breaks the names of one tokenizer's special tokens; `ids` are those of the tokens."""

    tokenizer: Any
    names: re.Pattern[str]
    ids: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Any, more: Iterable[str | None] = ()) -> Plain:
        """For a tokenizer of transformers; `more` are further names, such as the image's.

        Without a tokenizer (None) only names of the usual form are known.
        """
        added = getattr(tokenizer, "added_tokens_decoder", {})
        special = {str(token): id_ for id_, token in added.items() if token.special}
        names = {*special, *getattr(tokenizer, "all_special_tokens", ()), *filter(None, more)}
        longest = sorted((name for name in names if name.strip()), key=len, reverse=True)
        pattern = re.compile("|".join((*map(re.escape, longest), _CONTROL)))
        unknown = getattr(tokenizer, "unk_token_id", None)
        return cls(tokenizer, pattern, frozenset(special.values()) - {unknown})

    def question(self, question: Question) -> Question:
        """The question with a plain text and plain choices.

        Raises:
            AnswerError: as a call does.
        """
        text, choices = self(question.text), tuple(map(self, question.choices))
        if (text, choices) == (question.text, question.choices):
            return question
        return evolve(question, text=text, choices=choices)

    def __call__(self, text: str) -> str:
        """The text without a name of a special token.

        Raises:
            AnswerError: it still makes one, or is not valid Unicode.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise AnswerError(
                "The question's text is not valid Unicode: it has half of a surrogate pair.",
                cause="encoding",
            ) from error
        text = self._broken(text)
        if self._clean(text):
            return text
        text = self._broken(unicodedata.normalize("NFKC", text))
        if self._clean(text):
            return text
        raise AnswerError("The question's text makes a control token.", cause="marker")

    def _broken(self, text: str) -> str:
        while broken := self.names.sub(lambda name: f"{name[0][0]} {name[0][1:]}", text):
            if broken == text:
                break
            text = broken
        return text

    def _clean(self, text: str) -> bool:
        """Whether the ids of the text hold no special one, beside those that an empty one has."""
        if self.tokenizer is None:
            return True
        found = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if self.ids.isdisjoint(found):
            return True
        always = self.tokenizer("", add_special_tokens=False)["input_ids"]
        return self.ids.isdisjoint(set(found) - set(always))
