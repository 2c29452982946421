"""Nothing of a command's workers is left, however they hide it."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

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
