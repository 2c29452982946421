"""The user's wording reaches the model, and is part of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_question, questions
from tests.fakes import Instant
from vqa_engine import AdapterSpec, Answer, Engine, GenerationPlan, Question
from vqa_engine.errors import ConfigurationError, RunMismatch
from vqa_engine.runs.directory import read_manifest


class Echo(Instant):
    """Says what it was asked."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(f"{plan.system}|{question.text}|{question.worded}")


@pytest.fixture(params=["process", "inline"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    plan = GenerationPlan(prompt="Q: {question}\nBriefly.", system="Be kind.")
    with Engine(Echo, plan=plan, isolation=request.param) as made:
        yield made


def test_a_prompt_and_a_system_message_reach_the_model(engine: Engine) -> None:
    assert engine.ask(b"", "Who?").text == "Be kind.|Q: Who?\nBriefly.|True"


@pytest.mark.slow
def test_one_question_may_have_settings_of_its_own(engine: Engine) -> None:
    answer = engine.ask(b"", "Who?", prompt="{question}!", system=None, max_tokens=3)
    assert (answer.text, answer.plan.max_tokens) == ("None|Who?!|True", 3)
    assert engine.ask(b"", "Who?").text.startswith("Be kind.|Q:")


def test_an_answer_ends_before_a_stop_text(engine: Engine) -> None:
    answer = engine.ask(b"", "Who?", stop=("Brief", "Q: Who?\n"))
    assert (answer.text, answer.finish_reason) == ("Be kind.|", "stop")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("{question} Now:", "Which {options}?\nA. a {question}\nB. b Now:"),
        ("{options}\n{question}", "A. a {question}\nB. b\nWhich {options}?"),
    ],
)
def test_choices_are_lettered_in_a_prompt(prompt: str, text: str) -> None:
    with Engine(Echo, isolation="inline", plan=GenerationPlan(prompt=prompt)) as engine:
        said = engine.ask(b"", "Which {options}?", choices=("a {question}", "b")).text
    assert said.split("|")[1].replace("{question}", "Which {options}?") == text.replace(
        "{question}", "Which {options}?"
    )


def test_a_prompt_without_a_place_for_the_question_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"has no \{question\}"):
        GenerationPlan(prompt="Answer briefly.")


def test_another_prompt_is_another_run(tmp_path: Path) -> None:
    with Engine(Echo, isolation="inline") as engine:
        engine.run(questions(2), tmp_path / "r")
    other = GenerationPlan(prompt="{question}!")
    with Engine(Echo, isolation="inline", plan=other) as engine, pytest.raises(RunMismatch):
        engine.run(questions(2), tmp_path / "r")


@pytest.mark.slow
def test_one_adapter_runs_twice_with_two_prompts(tmp_path: Path) -> None:
    def spec(label: str, **settings: Any) -> AdapterSpec:
        target = f"{Echo.__module__}:{Echo.__qualname__}"
        return AdapterSpec(name="echo", target=target, label=label, settings=settings)

    adapters = [spec("plain"), spec("terse", prompt="{question} One word.")]
    with Engine(adapters) as engine:
        result = engine.run([a_question(1)], tmp_path / "r")
    said = {row.adapter: row.answer.text for row in result.rows() if row.answer}
    assert said["plain"] == "None|Is it red?|False"
    assert said["terse"] == "None|Is it red? One word.|True"
    assert read_manifest(tmp_path / "r").adapters["terse"].settings["prompt"].endswith("word.")


def test_a_setting_that_no_plan_has_is_one_sentence() -> None:
    spec = AdapterSpec(name="x", target="tests.fakes:Instant", settings={"promt": "x"})
    with pytest.raises(ConfigurationError, match="promt"):
        Engine(spec, isolation="inline")


@pytest.mark.slow
def test_an_answer_without_a_plan_has_the_one_given(engine: Engine) -> None:
    assert engine.ask(b"", "?", max_tokens=7).plan.max_tokens == 7
