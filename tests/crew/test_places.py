"""Places on this machine: real workers, the journal, and resuming with other places."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests import fakes
from tests.builders import a_question, png, questions
from tests.crew.slow import Slow, meeting
from vqa_engine import Answer, Engine, GenerationPlan, ModelRef, Observer, Progress, Question, Row
from vqa_engine.crew.local import VISIBLE
from vqa_engine.errors import ConfigurationError, NothingAnswered
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Loaded
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.export import record

pytestmark = pytest.mark.usefixtures("nobody_left")


class Where(fakes.Instant):
    """Says which GPUs its process sees."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=os.environ.get(VISIBLE, "all"), plan=plan)


class Killing(Observer):
    """Kills a worker of this process at some rows."""

    def __init__(self, *at: int) -> None:
        self._at = set(at)
        self.killed = 0

    def answered(self, row: Row, progress: Progress) -> None:
        workers = psutil.Process().children()
        if progress.done in self._at and workers:
            workers[0].send_signal(signal.SIGKILL)
            self.killed += 1


class Interrupting(Observer):
    """Presses Ctrl-C after some rows."""

    def __init__(self, at: int) -> None:
        self._at = at

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done == self._at:
            raise KeyboardInterrupt


def pictured(count: int) -> list[Question]:
    """Three questions about each picture."""
    pictures = [png((n + 1, 2)) for n in range(count // 3 + 1)]
    return [a_question(n, image=pictures[n // 3]) for n in range(count)]


def texts(directory: Path) -> dict[int | str, str]:
    journal = open_journal(directory)
    try:
        return {row.question.question_id: str(row.answer) for row in journal.rows()}
    finally:
        journal.close()


@pytest.mark.slow
def test_a_run_in_two_places_gives_what_one_gives(tmp_path: Path) -> None:
    with Engine(adapters=[Slow]) as engine:
        engine.run(pictured(12), tmp_path / "one")
    both = meeting(2, tmp_path / "met")
    with Engine(adapters=[both], places=["local://?count=2"]) as engine:
        result = engine.run(pictured(12), tmp_path / "two")
    assert texts(tmp_path / "one") == texts(tmp_path / "two")
    assert result.complete
    assert set(result.tallies["slow"].places) == {"worker-1", "worker-2"}
    assert {row.place for row in result.rows()} == {"worker-1", "worker-2"}


@pytest.mark.slow
def test_workers_that_are_killed_cost_no_answer(tmp_path: Path) -> None:
    killing = Killing(3, 9, 15)
    with Engine(adapters=[Slow], places=["local://?count=2"], observer=killing) as engine:
        result = engine.run(pictured(24), tmp_path / "run")
    assert killing.killed == 3
    assert result.complete
    assert len(list(result.rows())) == 24


@pytest.mark.slow
def test_a_run_is_continued_with_other_places(tmp_path: Path) -> None:
    with (
        Engine(adapters=[Slow], places=["local://?count=2"], observer=Interrupting(7)) as engine,
        pytest.raises(KeyboardInterrupt),
    ):
        engine.run(pictured(24), tmp_path / "run")
    before = texts(tmp_path / "run")
    assert 7 <= len(before) < 24
    with Engine(adapters=[Slow]) as engine:
        result = engine.run(pictured(24), tmp_path / "run")
    assert result.complete
    assert len(texts(tmp_path / "run")) == 24
    assert sum(result.tallies["slow"].places.values()) == len(before)
    exported = [record(row)["place"] for row in result.rows()]
    assert exported == [row.place for row in result.rows()]
    assert exported.count("") == 24 - len(before)


@pytest.mark.slow
def test_an_interrupt_does_not_wait_for_a_slow_answer() -> None:
    class Once(Observer):
        def loaded(self, label: str, loaded: Loaded) -> None:
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()

    began = time.monotonic()
    with (
        Engine(adapters=[Endless], places=["local://?count=2"], observer=Once()) as engine,
        pytest.raises(KeyboardInterrupt),
    ):
        engine.run(pictured(6))
    assert time.monotonic() - began < 50  # an answer would need a minute


class Endless(fakes.Instant):
    """Needs a minute for an answer."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        time.sleep(60)
        return super().answer(question, plan)


@pytest.mark.slow
def test_the_first_failures_end_a_run_in_places_too() -> None:
    with (
        Engine(adapters=[Blind], places=["local://?count=2"], same_failures=3) as engine,
        pytest.raises(NothingAnswered),
    ):
        engine.run(questions(40, image=png()))


class Blind(fakes.Instant):
    """Fails on everything."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        raise ValueError("I see nothing")


def test_rows_come_from_places_without_a_journal() -> None:
    with Engine(adapters=[fakes.Looking], places=["local://?count=2"]) as engine:
        rows = list(engine.answers(pictured(9)))
    assert sorted(int(row.question.question_id) for row in rows) == list(range(9))


def test_one_question_is_asked_at_the_first_place() -> None:
    with Engine(adapters=[Where], places=["cuda:3", "cuda:1"]) as engine:
        assert str(engine.ask(png(), "Which?")) == "3"


@pytest.mark.slow
def test_a_worker_for_a_gpu_sees_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "7,GPU-abc")
    with Engine(adapters=[Where], places=["cuda:0", "cuda:1"]) as engine:
        rows = list(engine.run(pictured(30)).rows())
    assert {(row.place, str(row.answer)) for row in rows} <= {
        ("cuda:0", "7"),
        ("cuda:1", "GPU-abc"),
    }


def test_any_other_device_is_the_adapters_option() -> None:
    adapter = AdapterSpec(name="told", target="tests.crew.test_places:Told")
    with Engine(adapters=[adapter], places=["cpu"]) as engine:
        assert str(engine.ask(png(), "Which?")) == "cpu"


@pytest.mark.slow
def test_each_place_may_have_options_of_its_own() -> None:
    adapter = AdapterSpec(name="told", target="tests.crew.test_places:Told")
    places = [f"local://?name={name}&device=http://{name}:8931/v1" for name in ("mac", "gpu")]
    with Engine(adapters=[adapter], places=places) as engine:
        rows = list(engine.run(pictured(12)).rows())
    assert all(str(row.answer) == f"http://{row.place}:8931/v1" for row in rows)


class Told(fakes.Instant):
    """Says which device it was given."""

    def load(self, model: ModelRef) -> None:
        self.device = model.options["device"]

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer(text=self.device, plan=plan)


@pytest.mark.slow
def test_adapters_run_side_by_side_on_one_command() -> None:
    with Engine(adapters=[fakes.Looking, fakes.Oracle], parallel=True) as engine:
        result = engine.run(pictured(12))
    assert result.complete
    assert {len(tally.places) for tally in result.tallies.values()} <= {1, 2}


class Several(fakes.Instant):
    """Takes questions about several images."""

    images_per_question = 4


@pytest.mark.slow
def test_an_adapter_that_does_not_fit_the_questions_leaves_the_others_theirs() -> None:
    asked = [a_question(n, image=png(), images=(png(),)) for n in range(4)]
    with Engine(adapters=[fakes.Instant, Several], places=["local://?count=1"]) as engine:
        result = engine.run(asked)
    assert list(result.errors) == ["instant"]
    assert result.tallies["several"].done == 4


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (["warp://9"], "no place 'warp'"),
        (["local://?count=none"], "count='none'"),
        (["local://?count=0"], "whole number from 1 to 1,000"),
        (["ray://"], "names no cluster"),
    ],
)
def test_an_address_that_is_wrong_is_one_sentence(places: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Engine(adapters=[fakes.Instant], places=places)


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("ray")
    with (
        Engine(adapters=[fakes.Instant], places=["ray://127.0.0.1:9"]) as engine,
        pytest.raises(ConfigurationError, match=r"cannot be reached: .*refused"),
    ):
        engine.run(questions(3))


def test_two_places_of_one_name_are_refused() -> None:
    with (
        Engine(adapters=[fakes.Instant], places=["cuda:0", "cuda:0"]) as engine,
        pytest.raises(ConfigurationError, match="count=N"),
    ):
        engine.run(questions(3))


def test_an_adapter_that_only_this_process_has_cannot_run_in_places() -> None:
    with pytest.raises(ConfigurationError, match="cannot run in places"):
        Engine(adapters=[fakes.Oracle()], places=["cuda:0"])
    with pytest.raises(ConfigurationError, match="inline"):
        Engine(adapters=[fakes.Oracle], places=["cuda:0"], isolation="inline")
