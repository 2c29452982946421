"""The rule by which a multiple-choice answer is read: one letter, or none, never a guess.

The steps, of which the first that finds anything decides. Only letters that a choice has
count, and Markdown, LaTeX boxes and quotes are taken away first.

1. The whole answer is a letter: `B`, `b`, `(b)`, `B.`, `**B**`, `\\boxed{B}`.
2. The whole answer is the text of exactly one choice.
3. The answer states a letter, `Answer: B`, `the correct option is (b)`, or else the text of
   one choice, `the answer is a dog`. The last statement counts, for a model may think first.
4. A marked letter follows a colon, and no other comes after it: `it must be: (B) a dog`.
5. It begins with a marked letter, and no other line does: `B) a cat`, `(B) a cat`, `B. a cat`.
6. It begins with a capital letter as a word: `B because …`. At the beginning of a sentence an
   `A` before a word in lower case is an article, but for a few words such as `because`; an `I`
   is a pronoun anywhere.
7. The text of one choice occurs in it as whole words, outside that of a longer choice; and
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
_STATEMENT = (
    r"\b(?i:answer|correct\s+(?:answer|option|choice)|option|choice)"
    r"(?i:\s+(?:is|would\s+be|should\s+be)\s*:?|\s*[:=])\s*"
)
_STATED = re.compile(
    _STATEMENT + r"(?i:option\s+|choice\s+)?(?:[(\[]\s?([A-Za-z])\s?[)\]]|([A-Za-z])(?![\w'’]))"
)
_STATES = re.compile(_STATEMENT)
_AFTER_COLON = re.compile(r":\s*(?:\(([A-Za-z])\)|([A-Z])[).:](?!\w))")
_BEGINS = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])[).:](?!\w))")
_BEGINS_AS_WORD = re.compile(r"\s*([A-Z])(?![\w'’])(?!\s*[-/&])")
_MARKED = re.compile(r"(?<![Nn]ot )\(([A-Za-z])\)|(?<![\w(])(?<![Nn]ot )([A-Z])(?:[).:](?!\w))")
_WORD = re.compile(r"(?<![\w'’(])(?<![Nn]ot )([A-Z])(?![\w'’).:])")
_ALSO = re.compile(r"\s*(?:,|/|&|and\b|or\b)\s*(?:option\s+|choice\s+)?\(?([A-Z])\)?(?![\w'’])")
_NEXT_WORD = re.compile(r"\s+([a-z]+)")
_SENTENCE_BEGINS = re.compile(r"(?:^|[.!?:;\n-])\s*$")
_BLANKS = re.compile(r"[^\S\n]+")
_SPACES = re.compile(r"\s+")
_NO_WORDS = frozenset("BCDEFGHJKLMNOPQRSTUVWXYZ")
"""Letters that are not English words; `A`, `I` and lower case may be."""

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
    for step in _STEPS:
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
        if _index(_letter(one)) < len(choices) and (one[1] or not _is_word(text, one, 2))
    ]
    return _with_also(text, matches[-1].end(), _index(_letter(matches[-1]))) if matches else []


def _stated_text(text: str, choices: Sequence[str]) -> list[int]:
    statements = list(_STATES.finditer(text))
    found = _texts(text[statements[-1].end() :], choices)[0] if statements else []
    return found if len(found) == 1 else []


def _after_colon(text: str, choices: Sequence[str]) -> list[int]:
    """The last letter behind a colon, unless others follow it: those are a list."""
    matches = list(_AFTER_COLON.finditer(text))
    if not matches:
        return []
    found = _index(_letter(matches[-1]))
    others = {_index(_letter(one)) for one in _MARKED.finditer(text, matches[-1].end())}
    return [] if others - {found} else [found]


def _begins(text: str, choices: Sequence[str]) -> list[int]:
    """The marked letter at the beginning, and those of other lines: they are a list."""
    marked = [match for line in text.split("\n") if (match := _BEGINS.match(line))]
    if not _BEGINS.match(text) or _index(_letter(marked[0])) >= len(choices):
        return []
    first = _with_also(text, marked[0].end(), _index(_letter(marked[0])))
    return first + [_index(_letter(match)) for match in marked[1:]]


def _begins_as_word(text: str, choices: Sequence[str]) -> list[int]:
    match = _BEGINS_AS_WORD.match(text)
    if match is None or _is_word(text, match, 1) or _index(match[1]) >= len(choices):
        return []
    return _with_also(text, match.end(), _index(match[1]))


def _anywhere(text: str, choices: Sequence[str]) -> list[int]:
    places, rest = _texts(text, choices)
    letters = [_index(_letter(match)) for match in _MARKED.finditer(rest)]
    letters += [_index(match[1]) for match in _WORD.finditer(rest) if not _is_word(rest, match, 1)]
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
        rest, times = re.subn(pattern, "…", rest, flags=re.IGNORECASE)
        if times:
            found.append(place)
    return found, rest


def _with_also(text: str, end: int, first: int) -> list[int]:
    """The letter, and those that follow it after a comma, `and` or `or`."""
    found = [first]
    while match := _ALSO.match(text, end):
        if _is_word(text, match, 1):
            break
        found.append(_index(match[1]))
        end = match.end()
    return found


def _is_word(text: str, match: re.Match[str], group: int) -> bool:
    """Whether the letter is an article or a pronoun of the words that follow.

    A capital `A` in the middle of a sentence is none, as in `Box A fits`.
    """
    letter, following = match[group], _NEXT_WORD.match(text, match.end(group))
    if letter in _NO_WORDS or following is None or following[1] in _LINKS:
        return False
    return letter != "A" or bool(_SENTENCE_BEGINS.search(text, 0, match.start(group)))


def _letter(match: re.Match[str]) -> str:
    return match[1] or match[2]


def _plain(prediction: str) -> str:
    return _BLANKS.sub(" ", _MARKUP.sub(" ", prediction)).strip()


def _folded(text: str) -> str:
    """A text as it is compared: lower case, single spaces, no punctuation at its ends."""
    return _SPACES.sub(" ", _MARKUP.sub(" ", text)).strip(" .,:;!?()[]'").casefold()


def _index(letter: str) -> int:
    return LETTERS.index(letter.upper())


_STEPS = (
    _whole,
    _whole_text,
    _stated,
    _stated_text,
    _after_colon,
    _begins,
    _begins_as_word,
    _anywhere,
)
