"""Yes or no: POPE, MME and HallusionBench.

`yes-no-pope` and `mme` read an answer as the official code does, with its quirks;
`yes-no-words` and `hallusion` want exactly one of the two words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ScoringError
from vqa_engine.scoring.aggregate import Counts, Sums, Tally, count, known, label_of, ratio
from vqa_engine.scoring.metric import Grade, Metric, Rule, Status, truths

YesNo = Literal["yes", "no"]
Reading = tuple[YesNo | None, Status]

_TRUTHS: dict[str, YesNo] = {"yes": "yes", "no": "no", "1": "yes", "0": "no"}
_WORDS = re.compile(r"\w+(?:['’]\w+)?")
_PREFIX = 4
"""Characters at the beginning that MME looks for a yes or no in."""


@frozen(kw_only=True)
class YesNoRule(Rule):
    """A metric that reads a yes or a no, and compares it with the truth."""

    read: Callable[[str], Reading]
    aggregates: tuple[str, ...] = ("yes-no",)

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`."""
        truth = _truth_of(question)
        said, status = self.read(prediction)
        return Grade(float(said == truth), said, status)


def pope() -> Metric:
    """`yes-no-pope`: what is no `no` is a yes, even an empty answer (RUCAIBox/POPE)."""
    return YesNoRule(name="yes-no-pope", read=_read_pope)


def words() -> Metric:
    """`yes-no-words`: exactly one of the words `yes` and `no`, in any case."""
    return YesNoRule(name="yes-no-words", read=_read_words)


def mme() -> Metric:
    """`mme`: the first four characters decide (MME's calculation.py)."""
    return YesNoRule(name="mme", read=_read_mme, aggregates=("mme", "yes-no"))


def hallusion() -> Metric:
    """`hallusion`: HallusionBench by rule instead of by GPT-4, read as `yes-no-words`."""
    return YesNoRule(name="hallusion", read=_read_words, aggregates=("hallusion", "yes-no"))


def _truth_of(question: Question) -> YesNo:
    """The ground truth.

    Raises:
        ScoringError: it is neither yes nor no.
    """
    truth = _TRUTHS.get(truths(question)[0].strip().lower())
    if truth is None:
        raise ScoringError("The ground truth of this question is neither yes nor no.")
    return truth


def _read_pope(prediction: str) -> Reading:
    """Text up to the first full stop, split at single spaces: `No`, `no` or `not` is a no."""
    said = prediction.partition(".")[0].replace(",", "").split(" ")
    return ("no" if {"No", "no", "not"} & set(said) else "yes"), "parsed"


def _read_words(prediction: str) -> Reading:
    """The one of the two words that is there; both are ambiguous."""
    said = set(_WORDS.findall(prediction.lower())) & {"yes", "no"}
    if len(said) == 2:
        return None, "ambiguous"
    if not said:
        return None, "unparsed"
    return ("yes" if "yes" in said else "no"), "parsed"


def _read_mme(prediction: str) -> Reading:
    """`yes` or `no` within the first four characters, `yes` first."""
    beginning = prediction.lower()[:_PREFIX]
    if "yes" in beginning:
        return "yes", "parsed"
    return ("no", "parsed") if "no" in beginning else (None, "unparsed")


@frozen
class Binary(Sums):
    """`yes-no`: precision, recall and F1 of yes, and the share of yes among the answers.

    With a label (`yes-no:setting`) the F1 of each of its values, and their mean. An answer
    that is neither misses a yes, and is no false alarm.
    """

    label: str | None = None

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`; a question without the label has no part."""
        value = "" if self.label is None else label_of(question, self.label)
        if value is not None:
            count(tally, f"all {value}")
            count(tally, f"{_truth_of(question)}, said {grade.parsed or 'neither'} {value}")

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        if self.label is None:
            return _figures(counts, "")
        values = sorted(name.removeprefix("all ") for name in counts if name.startswith("all "))
        each = {
            f"F1, {self.label} {value}": found["F1"]
            for value in values
            if "F1" in (found := _figures(counts, value))
        }
        mean = {f"mean F1 over {self.label}": sum(each.values()) / len(each)} if each else {}
        return mean | each


def _figures(counts: Counts, value: str) -> dict[str, float]:
    def of(name: str) -> float:
        return counts.get(f"{name} {value}", 0)

    hits, alarms = of("yes, said yes"), of("no, said yes")
    missed = of("yes, said no") + of("yes, said neither")
    return known(
        {
            "precision": ratio(hits, hits + alarms),
            "recall": ratio(hits, hits + missed),
            "F1": ratio(2 * hits, 2 * hits + alarms + missed),
            "answered yes": ratio(hits + alarms, of("all")),
        }
    )
