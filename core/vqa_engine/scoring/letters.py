"""The rule by which a multiple-choice answer is read: one letter, or none, never a guess.

The steps, of which the first that finds anything decides. Only letters that a choice has
count, and Markdown, LaTeX boxes and quotes are taken away first.

1. The whole answer is a letter: `B`, `b`, `(b)`, `B.`, `**B**`, `\\boxed{B}`.
2. The whole answer is the text of exactly one choice.
3. The answer states a letter: `Answer: B`, `the answer is (b)`, `the correct option is B`.
   The last statement counts, for a model may think first.
4. It begins with a marked letter: `B) a cat`, `B: a cat`, `(B) a cat`, `B. a cat`.
5. It begins with a capital letter as a word: `B because …`. An `A` or `I` before a word in
   lower case is an article or a pronoun, but for a few words such as `because`.
6. The text of one choice occurs in it as whole words, outside that of a longer choice; and
   marked or capital letters elsewhere in it, none of them behind `not`. Both together must
   mean one choice.

An answer that means several choices at the deciding step (`B or C`) is ambiguous.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from attrs import frozen

from vqa_engine.scoring.metric import Status

LETTERS = string.ascii_uppercase
"""The letters that choices have, in their order; a question has at most 26."""

_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\b|[*_`$\"“”{}]|</?\w+>")
_WHOLE = re.compile(r"[\s(\[<]*([A-Za-z])[\s)\]>.,:;!]*")
_STATED = re.compile(
    r"\b(?i:answer|correct\s+(?:answer|option|choice)|option|choice)"
    r"(?i:\s+(?:is|would\s+be|should\s+be)\s*:?|\s*[:=])\s*(?i:option\s+|choice\s+)?"
    r"[(\[]?\s?([A-Za-z])(?![\w'’])[)\]]?"
)
_BEGINS = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])[).:](?!\w))")
_BEGINS_AS_WORD = re.compile(r"\s*([A-Z])(?![\w'’])(?!\s*[-/&])")
_MARKED = re.compile(r"(?<![Nn]ot )\(([A-Za-z])\)|(?<![\w(])(?<![Nn]ot )([A-Z])(?:[).:](?!\w))")
_WORD = re.compile(r"(?<![\w'’(])(?<![Nn]ot )([A-Z])(?![\w'’).:])")
_ALSO = re.compile(r"\s*(?:,|/|&|and\b|or\b)\s*(?:option\s+|choice\s+)?\(?([A-Z])\)?(?![\w'’])")
_NEXT_WORD = re.compile(r"\s+([a-z]+)")
_SPACES = re.compile(r"\s+")
_NO_WORDS = frozenset("BCDEFGHJKLMNOPQRSTUVWXYZ")
"""Letters that are no word in English; `A`, `I` and lower case may be one."""

_LINKS = frozenset(("and", "as", "because", "is", "or", "since", "was", "with"))
"""What follows a letter, and hardly an article or a pronoun."""


@frozen
class Reading:
    """Which choice an answer means, by its index, if it means one."""

    choice: int | None
    status: Status

    @property
    def letter(self) -> str | None:
        """The choice's letter."""
        return None if self.choice is None else letter_of(self.choice)


def letter_of(choice: int) -> str:
    """The letter of a choice by its index; past Z its number, counted from 1."""
    return LETTERS[choice] if choice < len(LETTERS) else str(choice + 1)


def read_choice(prediction: str, choices: Sequence[str]) -> Reading:
    """Read an answer to a question with these choices."""
    text = _plain(prediction)
    for step in (_whole, _whole_text, _stated, _begins, _anywhere):
        found = {one for one in step(text, choices) if one < len(choices)}
        if found:
            return Reading(found.pop(), "parsed") if len(found) == 1 else Reading(None, "ambiguous")
    return Reading(None, "unparsed")


def _whole(text: str, _choices: Sequence[str]) -> list[int]:
    match = _WHOLE.fullmatch(text)
    return [_index(match[1])] if match else []


def _whole_text(text: str, choices: Sequence[str]) -> list[int]:
    said = _folded(text)
    return [place for place, choice in enumerate(choices) if said and _folded(choice) == said]


def _stated(text: str, choices: Sequence[str]) -> list[int]:
    matches = [
        one
        for one in _STATED.finditer(text)
        if _index(one[1]) < len(choices) and not _is_word(one[1], text[one.end() :])
    ]
    return _with_also(text, matches[-1].end(), _index(matches[-1][1])) if matches else []


def _begins(text: str, choices: Sequence[str]) -> list[int]:
    match = _BEGINS.match(text)
    if match is None:
        match = _BEGINS_AS_WORD.match(text)
        if match is None or _is_word(match[1], text[match.end() :]):
            return []
    found = _index(match[1] or match[2])
    return _with_also(text, match.end(), found) if found < len(choices) else []


def _anywhere(text: str, choices: Sequence[str]) -> list[int]:
    places, rest = _texts(text, choices)
    letters = [_index(match[1] or match[2]) for match in _MARKED.finditer(rest)]
    letters += [
        _index(match[1])
        for match in _WORD.finditer(rest)
        if not _is_word(match[1], rest[match.end() :])
    ]
    return [*places, *(letter for letter in letters if letter < len(choices))]


def _texts(text: str, choices: Sequence[str]) -> tuple[list[int], str]:
    """The choices whose text occurs in the answer, and the answer without them."""
    found, rest = [], text
    folded = {place: _folded(choice) for place, choice in enumerate(choices)}
    for place in sorted(folded, key=lambda one: -len(folded[one])):
        words = folded[place].split()
        if not words or (len(words) == 1 and len(words[0]) == 1 and words[0].isalpha()):
            continue  # a text of one letter says no more than a letter
        pattern = (
            r"(?<!\w)(?<![Nn]ot )" + r"[\s,.;:]+".join(map(re.escape, words)) + r"(?!\w)(?![.,]\d)"
        )
        rest, times = re.subn(pattern, "\n", rest, flags=re.IGNORECASE)
        if times:
            found.append(place)
    return found, rest


def _with_also(text: str, end: int, first: int) -> list[int]:
    """The letter, and those that follow it after a comma, `and` or `or`."""
    found = [first]
    while match := _ALSO.match(text, end):
        if _is_word(match[1], text[match.end() :]):
            break
        found.append(_index(match[1]))
        end = match.end()
    return found


def _is_word(letter: str, rest: str) -> bool:
    """Whether the letter is an article or a pronoun of the words that follow."""
    following = _NEXT_WORD.match(rest)
    return letter not in _NO_WORDS and following is not None and following[1] not in _LINKS


def _plain(prediction: str) -> str:
    return _SPACES.sub(" ", _MARKUP.sub(" ", prediction)).strip()


def _folded(text: str) -> str:
    """A text as it is compared: lower case, single spaces, no punctuation at its ends."""
    return _SPACES.sub(" ", _MARKUP.sub(" ", text)).strip(" .,:;!?()[]'").casefold()


def _index(letter: str) -> int:
    return LETTERS.index(letter.upper())
