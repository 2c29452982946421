"""A worker that was started ahead is an ordinary one, and nobody's when nobody wants it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.asking import reply_to
from tests.worker import PLAN, Opener, answered, ask, failed, running
from tests.worker.adapters import BAD
from vqa_engine.errors import InterpreterError
from vqa_engine.worker import Limits, ahead
from vqa_engine.worker.ahead import started_ahead


def waiting() -> psutil.Process:
    """The process that waits."""
    (one,) = ahead._waiting
    return psutil.Process(one.ends.process.pid)


def test_the_first_session_takes_it_and_the_next_starts_its_own(open_session: Opener) -> None:
    with started_ahead():
        ready, first, second = waiting(), open_session("Echo"), open_session("Echo")
        first.load()
        second.load()
        assert running(first) == ready.pid != running(second)
    assert answered(reply_to(first, ask("hello"), PLAN)).text == "hello!"


def test_it_ends_with_the_block_if_nobody_took_it() -> None:
    with started_ahead():
        ready = waiting()
    assert not ready.is_running()


@pytest.mark.parametrize("directory", ["logs", None])
def test_what_it_prints_is_found_after_its_death(
    open_session: Opener, tmp_path: Path, directory: str | None
) -> None:
    logs = tmp_path / directory if directory else None
    with started_ahead():
        session = open_session("SpeaksAndAborts", log_directory=logs, limits=Limits(workers=1))
        session.load()
    failure = failed(reply_to(session, ask(f"{BAD}last words"), PLAN))
    assert "last words" in failure.detail
    assert "Fatal Python error: Aborted" in failure.detail
    if logs:
        printed = (logs / "speaksandaborts.log").read_text()
        assert printed.startswith("=== ")
        assert "last words" in printed


def test_what_it_printed_while_it_waited_is_kept(
    open_session: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    with started_ahead():
        session = open_session("Echo", log_directory=tmp_path)
        session.load()
    assert "import 'site'" in (tmp_path / "echo.log").read_text()


def test_one_for_another_environment_is_ended(
    open_session: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started_ahead():
        ready, session = waiting(), open_session("Echo")
        monkeypatch.setenv("COLOUR", "red")
        session.load()
        assert running(session) != ready.pid
        assert not ready.is_running()


def test_one_for_another_interpreter_is_ended(open_session: Opener, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    with started_ahead():
        ready, session = waiting(), open_session("Echo", python=python)
        with pytest.raises(InterpreterError):
            session.load()
        assert not ready.is_running()


def test_a_dead_one_is_replaced(open_session: Opener) -> None:
    with started_ahead():
        ready, session = waiting(), open_session("Echo")
        ready.kill()
        ready.wait(10)
        session.load()
        assert running(session) != ready.pid


def test_where_none_can_be_started_the_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    with started_ahead():
        assert not ahead._waiting


def test_a_later_worker_loads_though_the_log_is_gone(open_session: Opener, tmp_path: Path) -> None:
    with started_ahead():
        session = open_session("Recycled", log_directory=tmp_path)
        session.load()
    first = running(session)
    (tmp_path / "recycled.log").unlink()
    answers = [answered(reply_to(session, ask("?", n), PLAN)) for n in range(3)]
    assert len(answers) == 3
    assert running(session) != first
