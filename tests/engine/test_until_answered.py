"""A run is complete when every question has an answer; the same command asks what has none."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from tests import fakes
from tests.builders import a_question, questions
from vqa_engine import Answer, Engine, GenerationPlan, ModelRef, Question, Row
from vqa_engine.crew.holder import Isolation
from vqa_engine.errors import (
    BackendGone,
    NothingAnswered,
    TooManyFailures,
    WorkerError,
)
from vqa_engine.results import Failure

pytestmark = pytest.mark.usefixtures("nobody_left")


class Moody(fakes.Instant):
    """Fails on the ids that it is told to, and counts what it is asked."""

    failing: ClassVar[set[int]] = set()
    asked: ClassVar[list[int | str]] = []

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        self.asked.append(question.question_id)
        if question.question_id in self.failing:
            raise ValueError(f"not {question.question_id}")
        return super().answer(question, plan)


@pytest.fixture(autouse=True)
def _forget() -> None:
    Moody.failing, Moody.asked = set(), []


class Server(fakes.Instant):
    """Is gone after some answers."""

    left: ClassVar[int] = 0

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if not Server.left:
            raise BackendGone("the server's key was refused")
        Server.left -= 1
        return super().answer(question, plan)


class CannotLoad(fakes.Instant):
    def load(self, model: ModelRef) -> None:
        raise RuntimeError("no such luck")


class CannotRelease(fakes.Instant):
    def release(self) -> None:
        raise RuntimeError("I will not")


def engine(*adapters: type, isolation: Isolation = "inline", same_failures: int = 10) -> Engine:
    return Engine(adapters=adapters, isolation=isolation, same_failures=same_failures)


def failure(row: Row) -> Failure:
    assert row.failure is not None
    return row.failure


@pytest.mark.slow
def test_what_failed_is_asked_again_by_the_same_command(tmp_path: Path) -> None:
    Moody.failing = {2, 4}
    with engine(Moody) as asked:
        first = asked.run(questions(6), tmp_path / "run")
    assert (first.complete, first.tallies["moody"].open) == (False, 2)
    Moody.failing, Moody.asked = {4}, []
    with engine(Moody) as asked:
        second = asked.run(questions(6), tmp_path / "run")
    assert Moody.asked == [2, 4]
    assert (second.complete, second.tallies["moody"].open) == (False, 1)
    assert second.scores["moody"][0].overall.count == 5


def test_failed_rows_can_be_kept(tmp_path: Path) -> None:
    Moody.failing = {2}
    for _ in range(2):
        with engine(Moody) as asked:
            result = asked.run(questions(4), tmp_path / "run", keep_failed=True)
    assert Moody.asked == [0, 1, 2, 3]
    assert result.tallies["moody"].failed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "deadly"),
    [(fakes.Deadly, 1), (fakes.Deadly, 8), (fakes.DeadlyTogether, 1), (fakes.DeadlyTogether, 5)],
)
def test_one_image_that_kills_its_worker_does_not_end_the_run(adapter: type, deadly: int) -> None:
    asked = [
        a_question(number, image=b"%d" % (number // 8), text="die" if number in doomed else "?")
        for doomed in [range(8, 8 + deadly)]
        for number in range(32)
    ]
    with engine(adapter, isolation="process") as running:
        rows = list(running.run(asked).rows())
    assert [row.question.question_id for row in rows if row.failure] == list(range(8, 8 + deadly))
    assert {failure(row).cause for row in rows if row.failure} == {"killed"}
    assert len(rows) == 32


@pytest.mark.slow
def test_a_run_whose_first_questions_all_fail_alike_ends_with_that_error(tmp_path: Path) -> None:
    Moody.failing = set(range(40))
    with engine(Moody) as asked, pytest.raises(NothingAnswered, match="first 10 questions") as e:
        asked.run(questions(40), tmp_path / "run")
    assert len(Moody.asked) == 10
    assert (e.value.label, e.value.count, e.value.cause) == ("moody", 10, "python")
    Moody.failing = set()
    with engine(Moody) as asked:
        assert asked.run(questions(40), tmp_path / "run").complete


@pytest.mark.slow
def test_a_run_that_has_an_answer_goes_on(tmp_path: Path) -> None:
    Moody.failing = set(range(1, 40))
    with engine(Moody) as asked:
        assert asked.run(questions(40), tmp_path / "run").tallies["moody"].open == 39
    with engine(Moody) as asked:
        assert asked.run(questions(40), tmp_path / "run").tallies["moody"].open == 39


def test_failures_that_differ_do_not_end_a_run() -> None:
    images = [Path(f"gone{n}.png") if n % 2 else b"no picture %d" % n for n in range(20)]
    asked = [a_question(n, image=image) for n, image in enumerate(images)]
    with engine(fakes.Looking) as running:
        assert running.run(asked).tallies["looking"].failed == 20


def test_the_rule_can_be_switched_off() -> None:
    Moody.failing = set(range(20))
    with engine(Moody, same_failures=0) as asked:
        assert asked.run(questions(20)).tallies["moody"].failed == 20


@pytest.mark.slow
def test_a_server_that_is_gone_leaves_the_rest_open(tmp_path: Path) -> None:
    Server.left = 3
    with engine(Server) as asked, pytest.raises(BackendGone, match="key was refused"):
        asked.run(questions(8), tmp_path / "run")
    Server.left = 5
    with engine(Server) as asked:
        result = asked.run(questions(8), tmp_path / "run")
    assert (Server.left, result.complete) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_load_that_raises_ends_its_own_adapter_only(isolation: Isolation) -> None:
    with engine(CannotLoad, fakes.Instant, isolation=isolation) as asked:
        result = asked.run(questions(3))
    error = result.errors["cannot_load"]
    assert isinstance(error, WorkerError)
    assert "no such luck" in str(error)
    assert result.tallies["instant"].done == 3


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_release_that_raises_costs_nothing(isolation: Isolation, tmp_path: Path) -> None:
    with engine(CannotRelease, fakes.Instant, isolation=isolation) as asked:
        result = asked.run(questions(3), tmp_path / "run")
    assert result.complete
    assert [tally.done for tally in result.tallies.values()] == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["inline", "process"])
@pytest.mark.parametrize(
    "odd",
    [
        a_question(1 << 70),
        a_question("lone \ud800"),
        a_question(7, text="lone \ud800"),
        a_question(8, image=Path("no\udcff unicode.png")),
    ],
    ids=["65 bits", "surrogate id", "surrogate text", "file name"],
)
def test_what_cannot_be_stored_or_sent_costs_one_row(
    isolation: Isolation, odd: Question, tmp_path: Path
) -> None:
    asked = [a_question("a"), odd, a_question("b")]
    for _ in range(2):
        with engine(fakes.Instant, isolation=isolation) as running:
            rows = list(running.run(asked, tmp_path / "run").rows())
        assert len(rows) == 3
        assert sum(row.answer is not None for row in rows) >= 2


@pytest.mark.slow
def test_a_run_ends_once_as_many_questions_failed_as_are_allowed(tmp_path: Path) -> None:
    Moody.failing = {1, 3, 5}
    with Engine(Moody(), isolation="inline", max_failures=2) as engine:
        with pytest.raises(TooManyFailures, match="as many as --max-failures allows") as caught:
            engine.run(questions(9), tmp_path / "r")
        assert (caught.value.count, Moody.asked) == (2, [0, 1, 2, 3])
        Moody.failing = set()
        assert engine.run(questions(9), tmp_path / "r").complete
