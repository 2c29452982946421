"""What every metric has to do; each test's docstring says what it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from attrs import evolve

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, ScoringError
from vqa_engine.scoring.making import aggregate, metric_here
from vqa_engine.scoring.metric import Grade, Metric, Status
from vqa_engine.scoring.registry import metric
from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.standard import refuse_unguarded, tampered

_SAID = (
    "", " ", "\n", "yes", "No.", "A", "(B)", "b) because", "14", "-3.5%", "1e400", "nan",
    "Á ß ﬁ 猫", "\x00", "\ud800", "yes and no", "A or B", "the cat " * 300,
)  # fmt: skip
"""Answers of every kind that models have given, and some that none should."""


class MetricConformance:
    """Subclass it, set `metric` and `examples`, and run pytest.

    `metric` is an entry-point name, a metric, or a function. `examples` are answers, each
    with its question and the value that it must get; give at least a right and a wrong one.
    A standard test that is overridden or deleted fails the suite, unless
    `capabilities.waived` gives the reason.

    Raises:
        TypeError: a subclass takes away the test that notices missing tests.
    """

    metric: ClassVar[Any]
    examples: ClassVar[Sequence[tuple[str, Question, float]]]
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_unguarded(cls, MetricConformance)

    @pytest.fixture(autouse=True)
    def _conformance(self, request: pytest.FixtureRequest) -> None:
        if reason := self.capabilities.waived.get(request.function.__name__):
            pytest.skip(f"waived: {reason}")

    def test_standard_tests_are_all_there(self) -> None:
        """Every standard test is there as it was written, or waived with a reason."""
        wrong = tampered(type(self), MetricConformance, self.capabilities)
        assert wrong == [], "Give the reason: Capabilities(waived={'test_name': 'why'})."

    def test_it_is_a_metric(self) -> None:
        """It has a name, a version from 1 on, decimals, and aggregates that exist."""
        made = self._metric()
        assert made.name.strip() == made.name != "", "a metric needs a name"
        assert not set(made.name) & set("+>"), "+ and > in a name stand for something else"
        assert type(made.version) is int and made.version >= 1, "versions count from 1"  # noqa: PT018
        assert made.decimals is None or made.decimals >= 0
        for name in made.aggregates:
            try:
                aggregate(name)
            except ConfigurationError as error:
                raise AssertionError(str(error)) from error

    def test_examples_get_their_value(self) -> None:
        """Each example gets its value; one is right, and one is not."""
        values = {value for _, _, value in self.examples}
        assert len(values) > 1, "give a right and a wrong example"
        wrong = [
            (said, value, got)
            for said, question, value in self.examples
            if abs((got := self._grade(said, question).value) - value) > 1e-9
        ]
        assert wrong == [], "answer, expected value, value"

    def test_every_answer_gets_a_grade(self) -> None:
        """Whatever a model says gets a value in 0..1 and a status; nothing is raised."""
        for said, question in self._asked():
            try:
                grade = self._grade(said, question)
            except Exception as error:
                raise AssertionError(f"{said!r} raises {type(error).__name__}: {error}") from error
            assert isinstance(grade, Grade), f"{said!r} gets {grade!r}, which is not a Grade"
            assert 0 <= grade.value <= 1, f"{said!r} gets {grade.value}"
            assert grade.status in get_args(Status), f"{said!r} gets the status {grade.status!r}"
            assert grade.parsed is None or isinstance(grade.parsed, str)

    def test_what_was_not_understood_is_not_right(self) -> None:
        """An answer that is ambiguous or unparsed does not get full marks."""
        for said, question in self._asked():
            grade = self._grade(said, question)
            assert grade.status == "parsed" or grade.value < 1, f"{said!r} was {grade.status}"

    def test_a_grade_depends_on_its_answer_alone(self) -> None:
        """The same answer gets the same grade, in any order and from another instance."""
        asked = list(self._asked())
        made = self._metric()
        first = [made.grade(*one) for one in asked]
        again = [made.grade(*one) for one in reversed(asked)]
        assert first == again[::-1], "a grade depends on what was graded before, or on chance"
        another = self._metric()
        assert first == [another.grade(*one) for one in asked]

    def test_the_picture_is_not_looked_at(self) -> None:
        """A grade needs no picture: answers are scored again where the pictures are not."""
        for said, question, _ in self.examples:
            gone = evolve(question, image=Path("/nowhere/at/all.png"), image_root=None)
            try:
                grade = self._grade(said, gone)
            except Exception as error:
                raise AssertionError(f"a grade needs the picture: {error}") from error
            assert grade == self._grade(said, question), "a grade depends on the picture"

    def test_a_question_without_a_truth_is_left_out(self) -> None:
        """It raises `ScoringError` where there is nothing to compare with."""
        for _, question, _ in self.examples:
            bare = evolve(question, answers=(), right=None)
            try:
                grade = self._grade("A", bare)
            except ScoringError:
                continue
            raise AssertionError(f"a question without a ground truth gets {grade}")

    @cached_property
    def _made(self) -> Metric:
        return self._metric()

    def _metric(self) -> Metric:
        # Not by attribute access: a function would come back as a method.
        given = next(vars(one)["metric"] for one in type(self).__mro__ if "metric" in vars(one))
        try:
            if isinstance(given, str):
                return metric_here(given)  # its own author's code, so a failure has a traceback
            return metric(given.__func__ if isinstance(given, staticmethod) else given)
        except ConfigurationError as error:
            raise AssertionError(str(error)) from error

    def _grade(self, said: str, question: Question) -> Grade:
        return self._made.grade(said, question)

    def _asked(self) -> Iterator[tuple[str, Question]]:
        for said, question, _ in self.examples:
            yield said, question
            yield from ((other, question) for other in _SAID)
