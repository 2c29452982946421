"""Nothing of a command's workers is left, however they hide it."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from tests.builders import a_distribution
from tests.cli.test_cli import Shell, shell, site

__all__ = ["shell", "site"]

HIDING = """
import subprocess
subprocess.run(["sh", "-c", "env -i setsid sh -c 'sleep 600; : {mark}' & exit 0"])
from tests.fakes import Instant
class Hiding(Instant):
    def answer(self, question, plan):
        subprocess.run(["sh", "-c", "env -i setsid sh -c 'sleep 600; : {mark}' & exit 0"])
        return super().answer(question, plan)
"""


def left(mark: str) -> list[psutil.Process]:
    """The processes with this in their command line."""
    found = (one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"])
    return [one for one in found if any(mark in part for part in one.info["cmdline"])]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no platform else adopts")
@pytest.mark.parametrize(
    "arguments",
    [("-a", "hiding", "--questions", "set.jsonl"), ("adapters",), ("fit", "-a", "hiding")],
    ids=lambda arguments: arguments[0],
)
def test_what_hides_from_the_environment_ends_with_the_command(
    shell: Shell, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    mark = uuid.uuid4().hex
    modules = {"hiding_mod": HIDING.format(mark=mark)}
    a_distribution(tmp_path / "d", "h", {"hiding": "hiding_mod:Hiding"}, modules=modules)
    shell.environment["PYTHONPATH"] += f":{tmp_path / 'd'}"
    shell.jsonl(2)
    shell(*arguments)
    there = left(mark)
    for process in there:  # where the test fails
        process.kill()
    assert not there


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_left")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_impatience_ends_a_command_no_worse(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    process = shell.start("-a", "slow", "--questions", shell.jsonl(60), "-o", "r", "-v")
    assert process.stderr is not None
    assert any("slow: 3:" in line for line in process.stderr)
    while process.poll() is None:
        process.send_signal(number)
        sleep(0.005)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_browser_that_view_opens_outlives_it(shell: Shell, tmp_path: Path) -> None:
    shell("-a", "instant", "--questions", shell.jsonl(1), "--output", "r")
    mark = uuid.uuid4().hex
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f"#!/bin/sh\nsetsid sh -c 'sleep 600; : {mark}' &\n")
    opener.chmod(0o755)
    shell.environment["PATH"] = f"{opener.parent}:{os.environ['PATH']}"
    viewer = shell.start("view", "r", "--open")
    until = monotonic() + 60
    while not left(mark) and monotonic() < until:
        sleep(0.05)
    viewer.send_signal(signal.SIGINT)
    viewer.wait(60)  # the browser keeps its pipes open
    there = left(mark)
    for process in (one for each in there for one in (*each.children(), each)):
        process.kill()
    viewer.communicate()
    assert there
