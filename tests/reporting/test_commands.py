"""The commands report, view, runs and status, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.reporting.builders import a_run, many
from vqa_engine.results import MemoryEvent
from vqa_engine.runs.journal import Journal
from vqa_engine_cli.main import cli

COMMAND = (sys.executable, "-m", "vqa_engine_cli")


def shell(*arguments: str | Path, cwd: Path, code: int = 0) -> tuple[str, str]:
    """What a command printed on stdout and stderr."""
    asked = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(asked, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_run(tmp_path / "runs" / "one", many(20), count=25, labels=["a", "b"])


@pytest.mark.slow
def test_report_writes_a_file_in_the_run_or_where_it_is_asked_for(
    run: Path, tmp_path: Path
) -> None:
    out, _ = shell("report", run, cwd=tmp_path)
    assert str(run / "report.html") in out
    shell("report", run, "-o", "page.html", "--metric", "vqa-v2-official", cwd=tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert "vqa-v2-official" in page
    assert "vqa-v2-normalised, with" not in page


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_report_writes_through_nothing_in_a_run(run: Path, tmp_path: Path, kind: str) -> None:
    page, victim = run / "report.html", tmp_path / "victim"
    if kind == "pipe":
        os.mkfifo(page)
    else:
        page.symlink_to(victim)
    if kind == "link":
        victim.write_text("mine")
    done = CliRunner().invoke(cli, ["report", str(run)])
    assert (done.exit_code, "--output" in done.stderr) == (1, True)
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text() == "mine"


def test_report_names_a_folder_that_is_no_run(tmp_path: Path) -> None:
    _, err = shell("report", tmp_path, cwd=tmp_path, code=1)
    assert "is not a run directory" in err


def test_report_of_one_run_twice_is_refused(run: Path, tmp_path: Path) -> None:
    _, err = shell("report", run, run / ".", cwd=tmp_path, code=1)
    assert "named twice" in err


@pytest.mark.slow
def test_runs_lists_every_run_and_one_that_is_broken_hides_no_other(
    run: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "journal.sqlite").write_bytes(b"no database")
    out, err = shell("runs", cwd=tmp_path)
    assert "runs/one  unfinished, question set kettles" in out
    assert re.search(r"a: 20/25, accuracy [\d.]+ %", out)
    assert "broken" in err
    out, _ = shell("runs", "--json", "--no-score", cwd=tmp_path)
    (found,) = map(json.loads, out.splitlines())
    assert found["directory"] == "runs/one"
    assert found["adapters"][0]["tally"]["done"] == 20


@pytest.mark.slow
def test_status_says_how_far_how_fast_and_what_failed(run: Path, tmp_path: Path) -> None:
    out, _ = shell("status", run, cwd=tmp_path)
    assert re.search(r"asked +20/25  \(80.0 %\)", out)
    assert re.search(r"speed +[\d.]+ questions/s", out)
    assert "peak" in out
    out, _ = shell("status", run, "--json", cwd=tmp_path)
    assert json.loads(out)["state"] == "unfinished"


def test_status_counts_a_strategy_once_whatever_calls_it_makes(tmp_path: Path) -> None:
    run = a_run(tmp_path / "one", many(2, labels=["a"]), count=2, labels=["a"])
    with closing(Journal(run / "journal.sqlite")) as journal:
        calls = ("gc.collect", "clear_cache")
        events = (MemoryEvent(strategy="release", call=call) for call in calls)
        journal.record_events("a", tuple(events))
    shown = CliRunner().invoke(cli, ["status", str(run)]).output
    assert "budget × 1, release × 1\n" in shown


@pytest.mark.slow
def test_view_serves_until_it_is_interrupted(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    process = subprocess.Popen(
        [*COMMAND, "view", str(run)],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
    with urllib.request.urlopen(address, timeout=20) as page:
        assert "kettles" in page.read().decode()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_the_commands_need_no_server_and_no_browser() -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(('starlette', 'uvicorn', 'playwright'));"
        "import vqa_engine.reporting, vqa_engine.reporting.view, vqa_engine.reporting.watching;"
        "assert not {'mlx', 'torch', 'transformers', 'numpy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_view_without_its_extra_says_how_to_get_it(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(('starlette', 'uvicorn'));"
        "from vqa_engine_cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "view", str(run)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'vqa-engine[serve]'" in done.stderr
