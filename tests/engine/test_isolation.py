"""The engine with its models in workers: equal answers, and deaths that cost one question."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests import fakes
from tests.builders import a_question, png, questions
from vqa_engine import Answer, Engine, GenerationPlan, Observer, Question
from vqa_engine.crew.holder import Isolation
from vqa_engine.errors import CheckpointError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import MemoryEvent

pytestmark = pytest.mark.usefixtures("nobody_left")


class Mortal(fakes.Instant):
    """Dies of a real signal at question 2: the first time, or every time."""

    always = False

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        mark = Path(question.text)
        if question.question_id == 2 and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(question, plan)


class Doomed(Mortal):
    """Never gets past question 2."""

    always = True


class Events(Observer):
    """Keeps the memory events."""

    def __init__(self) -> None:
        self.seen: list[MemoryEvent] = []

    def memory(self, label: str, event: MemoryEvent) -> None:
        self.seen.append(event)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [fakes.Oracle, fakes.Raising, fakes.Looking, fakes.Confused])
def test_a_worker_says_what_the_same_adapter_says_inline(adapter: type[fakes.Instant]) -> None:
    asked = [a_question(n, image=png((n + 1, 2)) if n else b"broken") for n in range(4)]
    said = []
    isolations: tuple[Isolation, ...] = ("inline", "process")
    for isolation in isolations:
        with Engine(adapters=[adapter], isolation=isolation) as engine:
            rows = list(engine.run(asked).rows())
        said.append([(r.answer and r.answer.text, r.failure and r.failure.message) for r in rows])
    assert said[0] == said[1]


@pytest.mark.slow
def test_a_death_costs_one_question_one_more_try(tmp_path: Path) -> None:
    events, asked = Events(), questions(5, text=str(tmp_path / "mark"))
    with Engine(adapters=[Mortal], observer=events) as engine:
        rows = list(engine.run(asked).rows())
    assert [row.answer is not None for row in rows] == [True] * 5
    assert [attempt.cause for attempt in rows[2].attempts] == ["killed"]
    assert "restart the worker" in [event.call for event in events.seen]


@pytest.mark.slow
def test_a_question_that_kills_three_workers_is_a_row_and_the_run_goes_on(tmp_path: Path) -> None:
    asked = questions(5, text=str(tmp_path / "mark"))
    with Engine(adapters=[Doomed]) as engine:
        result = engine.run(asked)
    rows = list(result.rows())
    assert [row.answer is not None for row in rows] == [True, True, False, True, True]
    assert rows[2].failure is not None
    assert len(rows[2].failure.attempts) == 3
    assert result.tallies["doomed"].failed == 1


def test_what_loading_raises_in_a_worker_is_the_same_error() -> None:
    with Engine(adapters=[fakes.Unreachable]) as engine, pytest.raises(CheckpointError) as caught:
        engine.run(questions(1))
    assert caught.value.tried == ("cache", "hub")


def test_a_workers_output_is_kept_in_the_run_directory(tmp_path: Path) -> None:
    with Engine(adapters=[fakes.Instant]) as engine:
        engine.run(questions(1), tmp_path / "run")
    assert list((tmp_path / "run" / "logs").iterdir())


def test_a_class_that_only_this_process_knows_runs_inline_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Local(fakes.Oracle):
        pass

    with Engine(adapters=[Local]) as engine:
        assert engine.run(questions(1)).complete
    assert "runs inline" in caplog.text


def test_an_interpreter_that_is_not_there_is_one_clear_sentence(tmp_path: Path) -> None:
    spec = AdapterSpec(name="instant", target="tests.fakes:Instant", python=tmp_path / "python")
    with Engine(adapters=[spec]) as engine, pytest.raises(Exception, match=str(tmp_path)):
        engine.run(questions(1))
