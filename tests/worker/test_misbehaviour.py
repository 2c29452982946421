"""Adapters that misbehave: the exact cause, the run goes on, and nobody is left."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from time import sleep

import psutil
import pytest

from tests.asking import reply_to
from tests.worker import PLAN, Opener, answered, ask, failed, running
from vqa_engine.errors import WorkerError
from vqa_engine.results import Cause
from vqa_engine.worker import Limits, Timeouts

QUICK = Timeouts(load=60, answer=1, stop=0.5)

DEADLY = [
    ("Aborts", "crashed", "SIGABRT"),
    ("AbortsOnMetal", "out_of_memory", "Insufficient Memory"),
    ("Segfaults", "crashed", "SIGSEGV"),
    ("ExitsHard", "exited", "exit code 0"),
    ("KillsItself", "killed", "SIGKILL"),
    ("HangsInAnswer", "hung", "within 1 s"),
    ("SpinsInNativeCode", "hung", "within 1 s"),
    ("ForksAndDies", "crashed", "SIGABRT"),
    ("ClosesDescriptors", "adapter", "closed file descriptors"),
    ("ClosesAndHangs", "adapter", "closed file descriptors"),
    ("Outlived", "crashed", "SIGABRT"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("adapter", "cause", "words"), DEADLY)
def test_a_deadly_question_costs_three_workers_and_no_more(
    open_session: Opener, adapter: str, cause: Cause, words: str
) -> None:
    session = open_session(adapter, timeouts=QUICK)
    session.load()
    failure = failed(reply_to(session, ask("bad"), PLAN))
    assert failure.cause == cause
    assert words in failure.message
    assert [attempt.cause for attempt in failure.attempts] == [cause] * 3
    assert answered(reply_to(session, ask("good"), PLAN)).text == "good!"
    assert session.release().residue == 0


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["Noisy", "Forks", "ClosesLowDescriptors", "Outlived"])
def test_what_is_not_deadly_does_not_disturb(open_session: Opener, adapter: str) -> None:
    session = open_session(adapter)
    session.load()
    pid = session.pid
    texts = ["good"] if adapter == "Outlived" else ["bad", "good", "bad"]
    answers = [answered(reply_to(session, ask(text), PLAN)).text for text in texts]
    assert answers == [f"{text}!" for text in texts]
    assert session.pid == pid
    assert session.release().residue == 0


@pytest.mark.slow
@pytest.mark.parametrize("text", ["bad", "bad and deadly"])
def test_a_daemon_ends_with_its_worker(open_session: Opener, text: str) -> None:
    session = open_session("Daemonises", limits=Limits(workers=1))
    session.load()
    reply_to(session, ask(text), PLAN)
    assert session.release().residue == 0  # the fixture sees that nobody is left


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["Raises", "RaisesBase", "ExitsSystem"])
def test_what_is_raised_is_not_tried_again(open_session: Opener, adapter: str) -> None:
    session = open_session(adapter)
    session.load()
    pid = session.pid
    failure = failed(reply_to(session, ask("bad"), PLAN))
    assert (failure.cause, failure.attempts) == ("python", ())
    assert "in misbehave" in failure.detail
    assert session.pid == pid


@pytest.mark.slow
def test_out_of_memory_goes_down_the_ladder(open_session: Opener) -> None:
    session = open_session("RunsOut")
    session.load()
    reply = reply_to(session, ask("bad"), PLAN)
    assert (answered(reply).plan.rung, answered(reply).plan.prefill_step) == (2, 32)
    assert [a.plan.prefill_step for a in reply.attempts] == [None, 128]
    assert {a.cause for a in reply.attempts} == {"out_of_memory"}
    assert [e.strategy for e in reply.events].count("fresh worker") == 2


@pytest.mark.slow
def test_too_big_is_never_tried_as_it_is(open_session: Opener) -> None:
    session = open_session("TooBig")
    session.load()
    failure = failed(reply_to(session, ask("bad"), PLAN))
    assert failure.cause == "too_big"
    steps = [attempt.plan.prefill_step for attempt in failure.attempts]
    assert steps == [None, 128, 32]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "tries"), [([], 1), (["good"], 2)])
def test_a_device_error_of_a_used_worker_gets_a_fresh_one(
    open_session: Opener, before: list[str], tries: int
) -> None:
    session = open_session("DeviceFails")
    session.load()
    for text in before:
        assert reply_to(session, ask(text), PLAN).answer
    failure = failed(reply_to(session, ask("bad"), PLAN))
    assert failure.cause == "backend"
    assert len(failure.attempts) == tries


@pytest.mark.slow
def test_a_hang_shows_where(open_session: Opener) -> None:
    session = open_session("HangsInAnswer", timeouts=QUICK)
    session.load()
    assert "in misbehave" in failed(reply_to(session, ask("bad"), PLAN)).detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "cause"),
    [("DiesInLoad", "crashed"), ("HangsInLoad", "hung"), ("RunsOutInLoad", "out_of_memory")],
)
def test_a_worker_that_cannot_load_stops_at_once(
    open_session: Opener, adapter: str, cause: Cause
) -> None:
    load = 5 if cause == "hung" else 60
    session = open_session(adapter, timeouts=Timeouts(load=load, stop=0.5))
    with pytest.raises(WorkerError) as caught:
        session.load()
    assert caught.value.cause == cause
    assert caught.value.label == adapter.lower()


@pytest.mark.slow
def test_a_worker_that_cannot_load_again_stops_the_run(
    open_session: Opener, tmp_path: Path
) -> None:
    session = open_session("DiesInLaterLoads", options={"marker": tmp_path / "loaded"})
    session.load()
    with pytest.raises(WorkerError, match="cannot load its model"):
        reply_to(session, ask("bad"), PLAN)


@pytest.mark.slow
def test_a_load_that_is_killed_is_tried_again(open_session: Opener, tmp_path: Path) -> None:
    session = open_session("KilledInLoad", options={"count": tmp_path / "n", "times": 2})
    session.load()
    assert reply_to(session, ask("good"), PLAN).answer


@pytest.mark.slow
def test_a_load_that_is_always_killed_stops_with_the_cause(
    open_session: Opener, tmp_path: Path
) -> None:
    count = tmp_path / "n"
    session = open_session("KilledInLoad", options={"count": count, "times": 99})
    with pytest.raises(WorkerError, match="jetsam") as caught:
        session.load()
    assert caught.value.cause == "killed"
    assert count.read_text() == "3"


@pytest.mark.slow
def test_a_crash_loop_is_counted_by_images(open_session: Opener) -> None:
    session = open_session("Aborts", limits=Limits(images=3))
    session.load()
    for number in range(2):
        assert reply_to(session, ask("bad", number, image=b"%d" % number), PLAN).failure
    with pytest.raises(WorkerError, match="3 different images in a row killed the worker"):
        reply_to(session, ask("bad", 2, image=b"2"), PLAN)


@pytest.mark.slow
def test_one_deadly_image_never_ends_the_run(open_session: Opener) -> None:
    session = open_session("Aborts", limits=Limits(images=2))
    session.load()
    for number in range(4):
        assert reply_to(session, ask("bad", number), PLAN).failure
    assert reply_to(session, ask("good", 9), PLAN).answer


@pytest.mark.slow
def test_an_answer_in_between_is_no_crash_loop(open_session: Opener) -> None:
    session = open_session("Aborts", limits=Limits(images=2))
    session.load()
    for number in range(3):
        assert reply_to(session, ask("bad", number, image=b"%d" % number), PLAN).failure
        assert reply_to(session, ask("good", f"g{number}", image=b"good"), PLAN).answer


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["CannotRelease", "HangsInRelease"])
def test_a_failing_release_is_made_good_by_the_end_of_the_process(
    open_session: Opener, adapter: str
) -> None:
    session = open_session(adapter)
    session.load()
    assert reply_to(session, ask("good"), PLAN).answer
    assert session.release().residue == 0


def test_a_forgotten_thread_does_not_hold_up_the_end(open_session: Opener, tmp_path: Path) -> None:
    session = open_session("ForgetsThread", options={"marker": tmp_path / "left"})
    session.load()
    assert session.release().residue == 0
    assert (tmp_path / "left").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_worker_killed_between_questions_is_replaced(
    open_session: Opener, number: signal.Signals
) -> None:
    session = open_session("Echo")
    session.load()
    os.kill(running(session), number)
    reply = reply_to(session, ask("good"), PLAN)
    assert answered(reply).text == "good!"
    assert answered(reply).plan.rung == 0
    assert len(reply.attempts) == 1
    assert reply.attempts[0].cause == ("crashed" if number == signal.SIGSEGV else "killed")


@pytest.mark.slow
def test_a_stopped_worker_is_a_hung_one(open_session: Opener) -> None:
    session = open_session("Echo", timeouts=QUICK)
    session.load()
    os.kill(running(session), signal.SIGSTOP)
    reply = reply_to(session, ask("good"), PLAN)
    assert [attempt.cause for attempt in reply.attempts] == ["hung"]
    assert answered(reply).text == "good!"


@pytest.mark.slow
def test_an_interrupted_question_leaves_nothing_behind(open_session: Opener) -> None:
    session = open_session("HangsInAnswer")
    session.load()
    main = threading.main_thread().ident
    timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        reply_to(session, ask("bad"), PLAN)
    timer.join()
    assert session.pid is None
    assert answered(reply_to(session, ask("good"), PLAN)).text == "good!"


@pytest.mark.slow
def test_a_worker_dying_in_a_large_message_is_noticed(open_session: Opener) -> None:
    session = open_session("Echo", timeouts=QUICK)
    session.load()
    worker = psutil.Process(running(session))
    worker.suspend()
    reply = reply_to(session, ask("long " * 100_000), PLAN)
    assert [attempt.cause for attempt in reply.attempts] == ["hung"]
    assert reply.answer


@pytest.mark.slow
def test_sleeping_is_not_dying(open_session: Opener) -> None:
    session = open_session("Echo")
    session.load()
    pid = session.pid
    sleep(1.2)  # longer than the guard's look at its parent
    assert reply_to(session, ask("good"), PLAN).answer
    assert session.pid == pid
