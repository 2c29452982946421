"""A run looked at from outside: its state, and that looking changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.reporting.builders import METRICS, a_run, many
from vqa_engine.reporting.watching import found, is_held, look
from vqa_engine.runs.directory import RunDirectory, read_manifest


def test_a_run_is_running_while_it_is_held(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", many(8, ["a"]), count=10)
    assert look(run).state == "unfinished"
    with RunDirectory(run, read_manifest(run)):
        assert look(run).state == "running"
    assert look(run).state == "unfinished"


def test_a_run_with_every_row_is_finished(tmp_path: Path) -> None:
    assert look(a_run(tmp_path / "run", many(8, ["a"]))).state == "finished"


def test_the_lock_of_a_dead_process_is_no_running_run(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", many(3, ["a"]))
    process = subprocess.Popen(["true"])
    process.wait()
    (run / "lock").write_text(str(process.pid))
    assert not is_held(run)
    (run / "lock").write_text("nonsense")
    assert not is_held(run)


def test_looking_keeps_no_run_from_starting(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", many(3, ["a"]), count=4)
    with RunDirectory(run, read_manifest(run)):
        pass
    assert not is_held(run)
    with RunDirectory(run, read_manifest(run)):
        assert is_held(run)


def test_progress_pace_and_memory_of_each_adapter(tmp_path: Path) -> None:
    rows = list(many(20, ["a"]))
    run = a_run(tmp_path / "run", rows, count=50, labels=["a", "b"])
    first, second = look(run, METRICS).adapters
    seconds = sum(row.seconds for row in rows)
    assert (first.tally.done, first.tally.unasked) == (20, 30)
    assert first.pace == pytest.approx(20 / seconds)
    assert first.left == pytest.approx(30 * seconds / 20)
    assert first.memory.extremes.peak is not None
    assert first.score is not None
    assert first.score.count == 20 - first.tally.failed
    assert (second.tally.done, second.pace, second.left) == (0, None, None)


def test_runs_are_found_at_any_depth_the_latest_first(tmp_path: Path) -> None:
    import os

    old = a_run(tmp_path / "old", many(1, ["a"]))
    new = a_run(tmp_path / "deep" / "er" / "new", many(1, ["a"]))
    os.utime(old / "journal.sqlite", (1, 1))
    (tmp_path / "no run").mkdir()
    assert found(tmp_path) == [new, old]
    assert found(new) == [new]
