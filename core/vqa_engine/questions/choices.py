"""The choices of a question in other orders: shuffled, rotated, or every order there is.

A model that prefers a letter shows it when the choices move. CircularEval (MMBench, Liu et
al., ECCV 2024) asks every rotation, and counts a question as right when all of them are.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from attrs import evolve, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.questions.ordering import image_keys
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import earlier
from vqa_engine.questions.view import View

Kind = Literal["shuffled", "circular", "all"]

_SEED = re.compile("[0-9]{1,18}")

ROTATION = "rotation"
"""The label that says which order a question has; "0" is as published."""

MOST = 24
"""Orders of one question that `all` asks, those of four choices; `circular` is for more."""


def ordered(questions: QuestionSet, choices: str) -> QuestionSet:
    """The set with its choices as `--choices` says: given, shuffled:SEED, circular or all.

    Raises:
        ConfigurationError: it says something else, the set has no choices, or it has their
            rotations already.
    """
    kind, _, seed = choices.partition(":")
    if choices == "given":
        return questions
    if kind not in ("shuffled", "circular", "all") or (seed and kind != "shuffled"):
        raise ConfigurationError(
            f"--choices is {choices!r}; give given, shuffled:SEED, circular or all."
        )
    if seed and not _SEED.fullmatch(seed):
        raise ConfigurationError(f"--choices shuffled:{seed} needs a whole number as its seed.")
    return OrderedChoices.of(questions, kind, int(seed or 0))  # type: ignore[arg-type]


@frozen(eq=False)
class OrderedChoices(View):
    """Another set's questions, each asked with its choices in one order or several.

    Question 7 in its third order has the id `7@2` and the group 7.
    """

    kind: Kind
    seed: int
    _places: array[int] = field(repr=False)
    _orders: array[int] = field(repr=False)

    @classmethod
    def of(cls, questions: QuestionSet, kind: Kind, seed: int) -> OrderedChoices:
        """Count the orders of each question; every question is made once.

        Raises:
            ConfigurationError: as `ordered`.
        """
        places, orders, chosen = array("L"), array("H"), False
        for place, question in enumerate(questions):
            _check(question)
            chosen = chosen or bool(question.choices)
            for order in range(_count(question, kind)):
                places.append(place)
                orders.append(order)
        if not chosen:
            raise ConfigurationError(
                f"--choices {kind} needs questions with choices, and {questions.name} has none."
            )
        return cls(questions, kind, seed, places, orders)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given."""
        wanted, again = itertools.tee(places)
        made = self._of.at(self._places[place] for place in wanted)
        for place, question in zip(again, made, strict=True):
            yield self._ordered(question, self._orders[place])

    def image_keys(self) -> Sequence[int]:
        """As the set behind it, once for each order."""
        keys = image_keys(self._of)
        return array("q", (keys[place] for place in self._places))

    def group_keys(self) -> Sequence[int]:
        """All orders of a question are one group."""
        return self._places

    def digest(self) -> str:
        """SHA-256 (hex) over the set behind it and the orders."""
        said = f"{self._of.digest()} choices {self.kind} {self.seed}"
        return hashlib.sha256(said.encode()).hexdigest()

    def earlier(self, count: int) -> Iterator[QuestionSet]:
        """All orders of what the set behind it may have been."""
        behind = self._places[count]
        if behind > self._places[count - 1]:  # else it would have had only some of the orders
            yield from (
                OrderedChoices.of(one, self.kind, self.seed) for one in earlier(self._of, behind)
            )

    def _ordered(self, question: Question, number: int) -> Question:
        size = len(question.choices)
        if not size:
            return question
        order = self._order(question, number)
        right = None if question.right is None else order.index(question.right)
        changed = evolve(
            question, right=right, choices=tuple(question.choices[place] for place in order)
        )
        if self.kind == "shuffled":
            return changed
        return evolve(
            changed,
            question_id=f"{question.question_id}@{number}",
            group=question.question_id,
            labels={**question.labels, ROTATION: str(number)},
        )

    def _order(self, question: Question, number: int) -> tuple[int, ...]:
        size = len(question.choices)
        places = tuple(range(size))
        if self.kind == "circular":
            return places[number:] + places[:number]
        if self.kind == "all":
            return next(itertools.islice(itertools.permutations(places), number, None))
        drawn = random.Random(f"{self.seed}:{question.question_id}")
        return tuple(drawn.sample(places, size))


def _count(question: Question, kind: Kind) -> int:
    size = len(question.choices)
    if kind == "shuffled" or size < 2:
        return 1
    if kind == "circular":
        return size
    if math.factorial(size) > MOST:
        raise ConfigurationError(
            f"--choices all would ask question {question.question_id!r} "
            f"{math.factorial(size)} times, for it has {size} choices; use circular."
        )
    return math.factorial(size)


def _check(question: Question) -> None:
    if ROTATION in question.labels:
        raise ConfigurationError(
            "The set has the rotations of its choices already; ask it with --choices given."
        )
    if question.choices and question.right is None and question.answers:
        raise ConfigurationError(
            f"Question {question.question_id!r} has choices, and nobody says which one is "
            "right, so they cannot be moved; ask the set with --choices given."
        )
