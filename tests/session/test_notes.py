"""What is logged while a model is loaded reaches the engine's observer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.builders import questions
from tests.fakes import Instant
from vqa_engine import Answer, Engine, GenerationPlan, ModelRef, Observer, Question
from vqa_engine.crew.holder import Isolation
from vqa_engine.errors import CheckpointError
from vqa_engine.results import Note
from vqa_engine.session.local import LocalSession
from vqa_engine.session.notes import Notes

log = logging.getLogger(__name__)


class Noting(Instant):
    """Logs at each step."""

    def load(self, model: ModelRef) -> None:
        log.warning("loading")

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        log.info("answering %s", question.question_id)
        log.debug("not worth telling")
        return super().answer(question, plan)

    def release(self) -> None:
        log.info("releasing")


class Refusing(Instant):
    """Logs, and does not load."""

    def load(self, model: ModelRef) -> None:
        log.warning("trying")
        raise CheckpointError("a/model", ["hub"], "no network", "Give a folder")


class Hearing(Observer):
    def __init__(self) -> None:
        self.notes: list[tuple[str, int, str]] = []

    def note(self, label: str, note: Note) -> None:
        self.notes.append((label, note.level, note.text))


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger of this package, which lets through what is of level info and above."""
    logger = logging.getLogger("tests")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_every_step_is_heard_in_order(isolation: Isolation, logger: logging.Logger) -> None:
    hearing = Hearing()
    with Engine(adapters=[Noting], isolation=isolation, observer=hearing) as engine:
        engine.run(questions(2))
    assert hearing.notes == [
        ("noting", logging.WARNING, "loading"),
        ("noting", logging.INFO, "answering 0"),
        ("noting", logging.INFO, "answering 1"),
        ("noting", logging.INFO, "releasing"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_at_level_debug_everything_is_heard(
    isolation: Isolation, caplog: pytest.LogCaptureFixture
) -> None:
    hearing = Hearing()
    with (
        caplog.at_level(logging.DEBUG),
        Engine(adapters=[Noting], isolation=isolation, observer=hearing) as engine,
    ):
        engine.run(questions(1))
    assert ("noting", logging.DEBUG, "not worth telling") in hearing.notes


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_load_that_fails_is_heard_too(isolation: Isolation) -> None:
    hearing = Hearing()
    with (
        Engine(adapters=[Refusing], isolation=isolation, observer=hearing) as engine,
        pytest.raises(CheckpointError),
    ):
        engine.ask("a.png", "?")
    assert ("refusing", logging.WARNING, "trying") in hearing.notes


def test_the_loggers_stay_as_they_are(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logger.setLevel(logging.ERROR)
    heard: list[Note] = []
    notes = Notes.of(Noting(), heard.append)
    notes.open()
    for level in (logging.INFO, logging.ERROR):
        log.log(level, "at %d", level)
    notes.close()
    log.error("over")
    assert [note.text for note in heard] == ["at 40"]
    assert [record.getMessage() for record in caplog.records] == ["at 40", "over"]
    assert (logger.level, logger.propagate, logger.handlers) == (logging.ERROR, True, [])


def test_arguments_that_do_not_fit_cost_no_answer(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", False)  # pytest's own handler would raise
    notes = Notes.of(Noting(), lambda note: None)
    notes.open()
    log.info("%d", "no number")
    notes.close()
    assert "Logging error" in capsys.readouterr().err


def test_a_load_that_fails_leaves_nobody_listening(logger: logging.Logger) -> None:
    with pytest.raises(CheckpointError):
        LocalSession(Refusing(), ModelRef()).load()
    assert not logger.handlers


def test_two_that_listen_at_one_time_make_nobody_above_hear_twice(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Each closes when it likes; whoever is above hears a warning once all the while."""
    heard = list[Note]()
    first, second = Notes.of(Noting(), heard.append), Notes.of(Noting(), heard.append)
    for change in (first.open, second.open, first.close, second.close):
        change()
        log.warning("once")
    assert [record.message for record in caplog.records] == ["once"] * 4
    assert len(heard) == 1 + 2 + 1
