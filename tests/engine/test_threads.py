"""An engine and threads: one at a time uses it, any may cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import questions
from tests.fakes import First, Instant, Second
from vqa_engine import Answer, Engine, GenerationPlan, Observer, Progress, Question, Row
from vqa_engine.errors import EngineBusy


class Waiting(Instant):
    """Answers when it is allowed to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        self.asked.set()
        assert self.go_on.wait(30)
        return super().answer(question, plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [
        lambda engine: engine.ask(b"", "Is it red?"),
        lambda engine: engine.run(questions(1)),
        lambda engine: next(engine.answers(questions(1))),
        lambda engine: engine.close(),
    ],
)
def test_a_second_thread_gets_a_typed_error(use: Callable[[Engine], object]) -> None:
    adapter = Waiting()
    with Engine(adapter, isolation="inline") as engine:
        first = threading.Thread(target=lambda: engine.ask(b"", "?"), name="the first")
        first.start()
        try:
            assert adapter.asked.wait(30)
            with pytest.raises(EngineBusy, match="'the first'"):
                use(engine)
        finally:
            adapter.go_on.set()
            first.join()


def test_threads_may_take_turns() -> None:
    with Engine(Instant(), isolation="inline") as engine:
        thread = threading.Thread(target=lambda: engine.ask(b"", "?"))
        thread.start()
        thread.join()
        assert engine.ask(b"", "?").text == "yes"


class CancelAt(Observer):
    """Cancels from another thread once so many questions are through."""

    def __init__(self, done: int) -> None:
        self.done = done
        self.resumed: dict[str, int] = {}
        self.engine: Engine

    def resuming(self, label: str, rows: int) -> None:
        self.resumed[label] = rows

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done == self.done:
            thread = threading.Thread(target=self.engine.cancel)
            thread.start()
            thread.join()


@pytest.mark.slow
def test_cancel_ends_a_run_and_the_same_run_continues(tmp_path: Path) -> None:
    observer = CancelAt(3)
    with Engine([First(), Second()], isolation="inline", observer=observer) as engine:
        observer.engine = engine
        result = engine.run(questions(9), tmp_path / "r")
        assert {label: tally.unasked for label, tally in result.tallies.items()} == {
            "first": 6,
            "second": 9,
        }
        assert not result.complete
        observer.done = -1
        assert observer.resumed == {}
        assert engine.run(questions(9), tmp_path / "r").complete
        assert observer.resumed == {"first": 3}


def test_cancel_ends_answers() -> None:
    with Engine(Instant(), isolation="inline") as engine:
        rows = engine.answers(questions(9))
        next(rows)
        engine.cancel()
        assert len(list(rows)) == 0
