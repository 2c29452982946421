"""Figures that two benchmarks define over groups of yes-no questions: MME, HallusionBench."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable

from attrs import frozen

from vqa_engine.adapter import Question
from vqa_engine.scoring.aggregate import Counts, Sums, Tally, count, known, label_of, ratio
from vqa_engine.scoring.cluster import cluster_of
from vqa_engine.scoring.metric import Grade

_SUBTASK = "subtask"
"""The label of MME's subtask; without it, `question_type` is taken."""

_COGNITION = (
    "commonsense_reasoning",
    "numerical_calculation",
    "text_translation",
    "code_reasoning",
)
"""MME's four cognition subtasks; all others are perception."""


@frozen
class Mme(Sums):
    """MME's points: for each subtask 100 · accuracy + 100 · accuracy of pairs.

    A pair, the two questions of one `group` or image, is right when both are. A pair of
    which only one question has an answer counts as no pair.
    """

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`."""
        subtask = question.labels.get(_SUBTASK) or question.question_type or "all"
        pair = cluster_of(question) if question.group is None else question.group
        tally.setdefault((subtask, pair), []).append(grade.value)

    def counts(self, tally: Tally) -> Counts:
        """As `Aggregate.counts`."""
        counts: Tally = {}
        for (subtask, _), grades in tally.items():
            count(counts, f"asked {subtask}", len(grades))
            count(counts, f"right {subtask}", sum(grades))
            for first, second in zip(grades[::2], grades[1::2], strict=False):
                count(counts, f"pairs {subtask}")
                count(counts, f"both {subtask}", first * second)
        return counts

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        points = {subtask: _points(subtask, counts) for subtask in _subtasks(counts)}
        sums: dict[str, float] = defaultdict(float)
        for subtask, earned in points.items():
            sums["cognition" if subtask in _COGNITION else "perception"] += earned
        total = {"perception + cognition": sum(sums.values())} if len(sums) > 1 else {}
        return {**total, **dict(sorted(sums.items(), reverse=True)), **points}


@frozen
class Hallusion(Sums):
    """HallusionBench: accuracy by question pair and by figure, and the mean of all three.

    The labels are the columns of the published JSON: category, subcategory, set_id,
    figure_id and question_id. Figures are scored over those that exist: figure 0 of the
    category VS means no figure. Questions of one set share figures, so sets are the
    clusters.
    """

    def cluster(self, question: Question) -> Hashable:
        """As `Aggregate.cluster`."""
        return _labels(question, ("category", "subcategory", "set_id"))

    def add(self, tally: Tally, question: Question, grade: Grade) -> None:
        """As `Aggregate.add`."""
        category, figure = label_of(question, "category"), label_of(question, "figure_id")
        _all_right(tally, ("pair", label_of(question, "question_id")), grade)
        if (category, figure) != ("VS", "0"):
            _all_right(tally, ("figure", figure), grade)
        right, asked = tally.get("questions", (0.0, 0))
        tally["questions"] = right + grade.value, asked + 1

    def counts(self, tally: Tally) -> Counts:
        """As `Aggregate.counts`."""
        right, asked = tally["questions"]
        counts: Tally = {"question": asked, "question right": right}
        for key, value in tally.items():
            if key != "questions":
                count(counts, key[0])
                count(counts, f"{key[0]} right", value)
        return counts

    def figures(self, counts: Counts) -> dict[str, float]:
        """As `Aggregate.figures`."""
        names = {"aAcc": "question", "fAcc": "figure", "qAcc": "pair"}
        found = known(
            {
                name: ratio(counts.get(f"{unit} right", 0), counts.get(unit, 0))
                for name, unit in names.items()
            }
        )
        mean = {"mean of the three": sum(found.values()) / 3} if len(found) == 3 else {}
        return {**mean, **found}


def _points(subtask: str, counts: Counts) -> float:
    accuracy = ratio(counts.get(f"right {subtask}", 0), counts.get(f"asked {subtask}", 0))
    pairs = ratio(counts.get(f"both {subtask}", 0), counts.get(f"pairs {subtask}", 0))
    return (accuracy or 0.0) + (pairs or 0.0)


def _subtasks(counts: Counts) -> Iterable[str]:
    return sorted(name.removeprefix("asked ") for name in counts if name.startswith("asked "))


def _labels(question: Question, names: Iterable[str]) -> tuple[str | None, ...]:
    return tuple(label_of(question, name) for name in names)


def _all_right(tally: Tally, key: Hashable, grade: Grade) -> None:
    tally[key] = tally.get(key, True) and grade.value == 1
