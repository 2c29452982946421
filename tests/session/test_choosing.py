"""Multiple choice by likelihood, as a run asks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.builders import a_question, questions
from tests.fakes import Confident, Instant, Scoring, Unreachable
from vqa_engine import Engine, Question
from vqa_engine.adapter import Answer, ChoiceScores, GenerationPlan, ModelRef, QuestionId
from vqa_engine.errors import AnswerError, ConfigurationError, VqaEngineError
from vqa_engine.outcome import open_run
from vqa_engine.questions.choices import ordered
from vqa_engine.questions.given import as_question_set
from vqa_engine.results import Row

CHOICES = ("ant", "bee", "zebra")


def question(**fields: Any) -> Question:
    return Question(question_id=1, image=b"", text="What is it?", right=1, **fields)


def rows(choose: Any, *asked: Question, adapter: Any = Scoring) -> list[Row]:
    with Engine(adapter, plan=GenerationPlan(choose=choose), isolation="inline") as engine:
        return list(engine.answers(asked))


def test_the_likeliest_letter_is_the_answer_with_its_probability() -> None:
    [row] = rows("likelihood", question(choices=CHOICES))
    assert row.answer is not None
    assert (row.answer.text, row.answer.choice, row.answer.logprob) == ("C", 2, -33.0)
    assert row.answer.loglikelihoods == (-35.0, -34.0, -33.0)
    assert row.answer.probability == pytest.approx(1 / (1 + math.exp(-1) + math.exp(-2)))


def test_texts_are_compared_per_byte() -> None:
    class Even(Instant):
        def score_choices(self, *_: object) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=(-6.0, -5.0, -8.0))

    [row] = rows("likelihood-text", question(choices=CHOICES), adapter=Even)
    assert row.answer is not None
    assert (row.answer.text, row.answer.logprob) == ("zebra", -8.0)
    shares = [math.exp(one) for one in (-6 / 3, -5 / 3, -8 / 5)]
    assert row.answer.probability == pytest.approx(shares[2] / sum(shares))


def test_a_question_without_choices_is_answered_as_ever() -> None:
    plain = Question(question_id=1, image=b"", text="What is it?")
    row, _ = rows("likelihood", plain, evolve(question(choices=CHOICES), question_id=2))
    assert row.answer is not None
    assert (row.answer.text, row.answer.probability) == ("yes", None)


def test_scores_that_do_not_fit_cost_the_question() -> None:
    class Short(Instant):
        def score_choices(self, *_: object) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=(1.0,))

    [row] = rows("likelihood", question(choices=CHOICES), adapter=Short)
    assert row.failure is not None
    assert "for 3 options" in row.failure.message


@pytest.mark.slow
def test_an_adapter_that_cannot_is_refused_before_it_loads() -> None:
    with pytest.raises(ConfigurationError, match=r"'instant' cannot score choices.*smolvlm"):
        Engine(Instant, plan=GenerationPlan(choose="likelihood"))


def test_the_choice_is_journaled_and_scored_through_a_worker(tmp_path: Path) -> None:
    with Engine(Scoring, plan=GenerationPlan(choose="likelihood")) as engine:
        engine.run([question(choices=CHOICES)], output=tmp_path / "run")
    result = open_run(tmp_path / "run")
    [row] = result.rows()
    [record] = result.records()
    assert row.answer is not None
    assert (row.answer.text, row.answer.choice) == ("C", 2)
    assert (record["probability"], record["logprob"]) == (row.answer.probability, -33.0)
    assert (record["chosen"], row.chosen) == ("zebra", "zebra")
    assert result.accuracy() == 0


@pytest.mark.parametrize("isolation", ["inline", pytest.param("process", marks=pytest.mark.slow)])
def test_one_question_may_be_answered_by_likelihood(isolation: Any) -> None:
    with Engine(Confident, isolation=isolation) as engine:
        chosen = engine.ask(b"", "What is it?", choices=CHOICES, choose="likelihood-text")
        assert (chosen.text, chosen.choice) == ("zebra", 2)
        said = engine.ask(b"", "What is it?", choices=CHOICES, logprobs=True)
        assert (said.text, said.choice, said.logprob) == ("yes", None, -0.5)
        assert engine.ask(b"", "What is it?").logprob is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "settings", "message"),
    [
        (CHOICES, {"choose": "likelihood"}, "cannot score choices"),
        ((), {"choose": "likelihood"}, "nothing to choose from"),
        (CHOICES, {"max_tokens": 0}, "max_tokens must be a whole number of at least 1"),
        (CHOICES, {"chose": "likelihood"}, "'chose'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_loaded(
    choices: Any, settings: Any, message: str
) -> None:
    with (
        Engine(Unreachable, isolation="inline") as engine,
        pytest.raises(ConfigurationError, match=message),
    ):
        engine.ask(b"", "What is it?", choices=choices, **settings)


LIKELY = GenerationPlan(choose="likelihood-text")


def test_a_set_without_choices_is_refused_before_anything_is_loaded() -> None:
    class Strict(Scoring):
        def load(self, model: ModelRef) -> None:
            raise AssertionError

    with Engine(Strict, plan=LIKELY, isolation="inline") as engine:
        with pytest.raises(ConfigurationError, match="has no choices to choose from: name their"):
            engine.run(questions(2))
        with pytest.raises(ConfigurationError, match="has no choices to choose from: name their"):
            next(engine.answers(questions(2)))
        with pytest.raises(ConfigurationError, match="nothing to choose from: give its choices"):
            engine.ask(b"", "What is it?")


def test_of_a_mixed_set_the_generated_answers_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mixed = [*questions(2), a_question(7, choices=CHOICES)]
    with Engine(Scoring, plan=LIKELY, isolation="inline") as engine:
        found = list(engine.run(mixed).rows())
    assert [row.chosen for row in found] == [None, None, "zebra"]
    assert "2 of 3 questions have no choices, and are answered by generating" in caplog.text


LETTERS = ("C", "A", "B")
"""Texts that read as the letters of other choices, as in diagrams with lettered parts."""


@pytest.mark.slow
@pytest.mark.parametrize("choose", ["likelihood", "likelihood-text"])
def test_a_chosen_text_is_not_read_as_the_letter_of_another_choice(choose: Any) -> None:
    class Knowing(Instant):
        """Knows that the first choice is right, which is the text "C"."""

        def score_choices(
            self, question: Question, options: Sequence[str], plan: GenerationPlan
        ) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=tuple(-float(at) for at in range(len(options))))

    plan = GenerationPlan(choose=choose)
    with Engine(Knowing, plan=plan, isolation="inline") as engine:
        result = engine.run([evolve(question(choices=LETTERS), right=0)])
    assert result.accuracy() == 100
    assert [wrong.wrong for wrong in result.graded()] == [False]


@pytest.mark.slow
@pytest.mark.parametrize("choose", ["likelihood", "likelihood-text"])
@pytest.mark.parametrize(
    ("choices", "count"), [("given", 1), ("shuffled:3", 1), ("circular", 3), ("all", 6)]
)
def test_the_choice_is_that_of_the_order_that_was_asked(
    choose: Any, choices: str, count: int
) -> None:
    """The adapter prefers a text wherever it comes, or else its letter."""

    class Fond(Instant):
        def score_choices(
            self, question: Question, options: Sequence[str], plan: GenerationPlan
        ) -> ChoiceScores:
            liked = question.choices.index("bee")
            return ChoiceScores(
                loglikelihoods=tuple(-100.0 * (at != liked) for at in range(len(options)))
            )

    asked = ordered(as_question_set([question(choices=CHOICES)]), choices)
    plan = GenerationPlan(choose=choose)
    with Engine(Fond, plan=plan, isolation="inline") as engine:
        result = engine.run(asked)
    assert [row.chosen for row in result.rows()] == ["bee"] * count
    assert result.accuracy() == 100


class Together(Scoring):
    """Scores and answers as many as it is offered, and keeps what came together."""

    def __init__(self) -> None:
        self.batches: list[list[QuestionId]] = []

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return len(upcoming)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> list[Answer]:
        self.batches.append([one.question_id for one in questions])
        return [Answer("yes") for _ in questions]

    def score_choices_batch(
        self, questions: Sequence[Question], options: Sequence[Sequence[str]], plan: GenerationPlan
    ) -> list[ChoiceScores | VqaEngineError]:
        self.batches.append([one.question_id for one in questions])
        return [
            AnswerError("the question is not for me")
            if one.text == "?"
            else self.score_choices(one, each, plan)
            for one, each in zip(questions, options, strict=True)
        ]


def test_questions_with_choices_are_scored_together_where_the_adapter_can() -> None:
    adapter = Together()
    texts = ["What is it?", "What is it?", "?", "Who?", "Who?", "What is it?"]
    asked = [
        evolve(question(choices=() if text == "Who?" else CHOICES), question_id=number, text=text)
        if text != "Who?"
        else Question(question_id=number, image=b"", text=text)
        for number, text in enumerate(texts)
    ]
    found = rows("likelihood", *asked, adapter=adapter)
    assert adapter.batches == [[0, 1, 2], [3, 4]]
    assert [row.chosen for row in found] == ["zebra", "zebra", None, None, None, "zebra"]
    assert [row.failure.message if row.failure else "" for row in found] == [
        *("", "", "the question is not for me", "", "", "")
    ]


@pytest.mark.slow
def test_too_many_choices_for_letters_cost_their_own_question_alone() -> None:
    many = tuple(f"number {number}" for number in range(27))
    asked = [
        evolve(question(choices=each), question_id=number)
        for number, each in enumerate((CHOICES, many, CHOICES))
    ]
    found = rows("likelihood", *asked, adapter=Together())
    assert [row.chosen for row in found] == ["zebra", None, "zebra"]
    assert found[1].failure is not None
    assert "27 choices and letters for 26" in found[1].failure.message
    assert [row.chosen for row in rows("likelihood-text", *asked, adapter=Together())] == [
        *("zebra", "number 0", "zebra")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scores", [(math.nan, 0.0, 0.0), (-math.inf,) * 3, (math.inf, 0.0, 0.0)])
def test_scores_that_cannot_be_compared_cost_the_question(scores: tuple[float, ...]) -> None:
    class Odd(Instant):
        def score_choices(self, *_: object) -> ChoiceScores:
            return ChoiceScores(loglikelihoods=scores)

    [row] = rows("likelihood", question(choices=CHOICES), adapter=Odd)
    assert row.failure is not None
    assert "one log-likelihood for each" in row.failure.message
