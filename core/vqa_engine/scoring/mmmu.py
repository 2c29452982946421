"""MMMU: `mmmu-official` and `mmmu-strict`, for choice and open questions alike.

The official parser (MMMU-Benchmark/MMMU, eval_utils.py) draws a letter at random where it
finds none, so that the same answers get different scores. `mmmu-official` gives such an
answer the expectation, 1 / choices; `mmmu-strict` gives it nothing, and reads letters by the
rule of `vqa_engine.scoring.letters`. Open questions are graded alike by both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.choice import Choice, needed_choice
from vqa_engine.scoring.letters import LETTERS, letter_of
from vqa_engine.scoring.metric import Grade, Rule, truths

_MARKS = ",.!?;:'"
_FEW_WORDS = 5
"""Up to so many words the text of a choice is not looked for."""

_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""What precedes the answer; in the last line of a response `=` is another."""

_TRIVIAL = frozenset(":,.!?;'")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # 1,234
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # 1.2e-3
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),  # 12, 1.5, .5
)

Normal = str | float


@frozen(kw_only=True)
class MmmuOfficial(Rule):
    """`mmmu-official`: the expectation of the official score."""

    name: str = "mmmu-official"
    aggregates: tuple[str, ...] = ("letters",)

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        if not question.choices:
            return _open(prediction, question)
        right = needed_choice(question)
        found = official_choice(prediction, question.choices)
        if found is None:
            return Grade(1 / len(question.choices), None, "unparsed")
        return Grade(float(found == right), letter_of(found))


@frozen(kw_only=True)
class MmmuStrict(Choice):
    """`mmmu-strict`: an answer without a letter is wrong."""

    name: str = "mmmu-strict"

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        return (
            super().grade(prediction, question) if question.choices else _open(prediction, question)
        )


def official_choice(prediction: str, choices: Sequence[str]) -> int | None:
    """The choice that the official parser finds, None where it would draw one.

    It looks for `(B)`, then for ` B `, then, in more than five words, for the choices' texts;
    of several the last one counts.
    """
    for mark in _MARKS:
        prediction = prediction.strip(mark)
    text = f" {prediction} "
    letters = LETTERS[: len(choices)]
    for form in ("({})", " {} "):
        found = _last(text, [form.format(letter) for letter in letters])
        if found is not None:
            return found
    if len(text.split()) <= _FEW_WORDS:
        return None
    return _last(text.lower(), [choice.lower() for choice in choices])


def _open_candidates(prediction: str) -> list[Normal]:
    """The candidate answers that the official parser finds in the response to an open question."""
    parts = list(_tails(prediction)) or [_trimmed(prediction)]
    numbers = [one for part in parts for form in _NUMBERS for one in form.findall(part)]
    return [normal for part in (*parts, *numbers) for normal in _normals(part)]


def _open(prediction: str, question: Question) -> Grade:
    wanted = [normal for truth in truths(question) for normal in _normals(truth)]
    said = _open_candidates(prediction)
    right = any(
        (isinstance(one, str) and isinstance(other, str) and other in one) or one == other
        for one in said
        for other in wanted
    )
    return Grade(float(right))


def _last(text: str, forms: Sequence[str]) -> int | None:
    """Which of these occurs last in the text; of equals the first."""
    places = [text.rfind(form) for form in forms]
    last = max(places, default=-1)
    return None if last < 0 else places.index(last)


def _tails(prediction: str) -> Iterator[str]:
    """What follows the cues of each line, as short as possible."""
    lines = _trimmed(prediction).split("\n")
    for number, line in enumerate(lines, start=1):
        cues = (*_CUES, "=") if number == len(lines) else _CUES
        shortest = ""
        for tail in (line.rpartition(cue)[2].strip() for cue in cues if cue in line):
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _TRIVIAL:
            yield shortest


def _trimmed(prediction: str) -> str:
    return prediction.strip().strip(".").lower()


def _normals(text: str) -> list[Normal]:
    """A number rounded to two decimals, or lower case; one letter wants a space beside it."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]
