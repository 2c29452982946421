"""Multiple choice: `choice`, and `circular` for sets in which every rotation is asked.

CircularEval is of MMBench (Liu et al., ECCV 2024): a question is right only if all rotations
of its choices are answered right.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from attrs import field, frozen

from vqa_engine.adapter import Answer, Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring.aggregate import Counts, Sums, Tally, count, known, label_of, ratio
from vqa_engine.scoring.letters import LETTERS, letter_of, read_choice
from vqa_engine.scoring.metric import Grade, Metric, Rule

ROTATION = "rotation"
"""The label that says how far a question's choices are rotated; "0" is as published."""


def right_choice(question: Question) -> int | None:
    """The index of the right choice: as stated, else the one choice that is an answer's text,
    else the one whose letter is the only answer."""
    if question.right is not None:
        return question.right
    texts = {place for place, text in enumerate(question.choices) if text in question.answers}
    letters = LETTERS[: len(question.choices)]
    if not texts and len(question.answers) == 1 and question.answers[0] in [*letters]:
        return letters.index(question.answers[0])
    return texts.pop() if len(texts) == 1 else None


def needed_choice(question: Question) -> int:
    """As `right_choice`.

    Raises:
        ScoringError: nobody knows which choice is right.
    """
    right = right_choice(question)
    if right is None:
        raise ScoringError("A question without choices and a right one cannot be scored by letter.")
    return right


def stated(answer: Answer, question: Question) -> str:
    """What metrics read of an answer: its text as a rule.

    The text of an option that was chosen by likelihood may be read as another choice, such as
    the text "B" of choice A; there it is the option's letter.
    """
    chosen = answer.choice
    if chosen is None or not 0 <= chosen < len(LETTERS):
        return answer.text
    read = read_choice(answer.text, question.choices).choice
    return answer.text if read == chosen else letter_of(chosen)


@frozen(kw_only=True)
class Choice(Rule):
    """Right when the answer means the right choice (`vqa_engine.scoring.letters`)."""

    name: str = "choice"
    aggregates: tuple[str, ...] = ("letters",)

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        right = needed_choice(question)
        read = read_choice(prediction, question.choices)
        return Grade(float(read.choice == right), read.letter, read.status)


def choice() -> Metric:
    """`choice`."""
    return Choice()


def circular() -> Metric:
    """`circular`: `choice` with the figures of CircularEval beside the mean."""
    return Choice(name="circular", aggregates=("circular", "letters"))


@frozen
class Circular(Sums):
    """Whole groups of rotations: the share that is right throughout, and of rotation 0.

    A group that is not complete, because some of its rotations were not asked or not
    answered, counts nowhere: a part of a group is easier than the whole. It is complete with as
    many rotations as it has choices, or as choices move: MMBench leaves some of the fourth ones
    where they are ("All above are not right"), in 53 of the 1,176 questions of its first file.
    With a label (`circular:category`) the share for each of its values.
    """

    label: str | None = None

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`; a question without the label has no part."""
        value = "" if self.label is None else label_of(question, self.label)
        if value is None:
            return
        group = tally.setdefault(_group(question), _Group(question.choices, value))
        group.grades[question.labels.get(ROTATION, str(len(group.grades)))] = grade.value
        pairs = zip(group.choices, question.choices, strict=False)
        group.moved.update(place for place, (one, other) in enumerate(pairs) if one != other)

    def counts(self, tally: Tally) -> Counts:
        """As `Aggregate.counts`."""
        counts: Tally = {}
        for group in tally.values():
            if not group.complete:
                count(counts, "cut")
                continue
            right = all(grade == 1 for grade in group.grades.values())
            count(counts, f"groups {group.value}")
            count(counts, f"all {group.value}", right)
            count(counts, "first", group.grades.get("0", 0.0))
        return counts

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        if self.label is not None:
            begun = sorted(name for name in counts if name.startswith("groups "))
            values = [name.removeprefix("groups ") for name in begun]
            return known({f"circular, {self.label} {one}": _share(counts, one) for one in values})
        shown = known(
            {
                "circular": _share(counts, ""),
                "rotation 0": ratio(counts.get("first", 0), counts.get("groups ", 0)),
            }
        )
        cut = counts.get("cut", 0)
        return shown | ({"incomplete groups (not counted)": cut} if cut else {})


def _share(counts: Counts, value: str) -> float | None:
    return ratio(counts.get(f"all {value}", 0), counts.get(f"groups {value}", 0))


@frozen
class _Group:
    """The choices of its first rotation, its label's value, all grades, and the places moved."""

    choices: tuple[str, ...]
    value: str
    grades: dict[str, float] = field(factory=dict)
    moved: set[int] = field(factory=set)

    @property
    def complete(self) -> bool:
        """Whether every rotation was answered; of more orders than that, every order."""
        size, asked = len(self.choices), len(self.grades)
        if any(turn.isdigit() and int(turn) >= size for turn in self.grades):
            return asked == math.factorial(size)
        return asked in {size, len(self.moved)}


def _group(question: Question) -> Hashable:
    return question.question_id if question.group is None else question.group


@frozen
class Letters(Sums):
    """How often each letter is right and how often it is given, and what a constant scores."""

    compared = False

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`."""
        right = right_choice(question)
        if right is None:
            return
        count(tally, "count")
        count(tally, f"right {letter_of(right)}")
        count(tally, f"given {grade.parsed or 'none'}")
        if question.choices == tuple(LETTERS[: len(question.choices)]):
            return  # their texts are in the question's
        lengths = [len(text) for text in question.choices]
        longest = [place for place, length in enumerate(lengths) if length == max(lengths)]
        count(tally, "with texts")
        count(tally, "longest", (right in longest) / len(longest))

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        total = counts.get("count", 0)
        seen = {name.split()[1] for name in counts if name.startswith(("right ", "given "))}
        shares: dict[str, float | None] = {}
        for letter in sorted(seen - {"none"}):
            for kind in ("right", "given"):
                shares[f"{kind} {letter}"] = ratio(counts.get(f"{kind} {letter}", 0), total)
        best = max(LETTERS, key=lambda letter: counts.get(f"right {letter}", 0))
        shares[f"baseline: always {best}"] = ratio(counts.get(f"right {best}", 0), total)
        shares["baseline: longest choice"] = ratio(
            counts.get("longest", 0), counts.get("with texts", 0)
        )
        return known(shares)
