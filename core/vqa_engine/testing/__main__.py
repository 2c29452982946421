"""The child of `vqa-engine check`: runs the kit, and tells each outcome as it comes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from vqa_engine.testing.conformance import AdapterConformance
from vqa_engine.testing.subject import VARIABLE, Outcome, Subject

FILE = Path(__file__).with_name("installed.py")
CONFIGURATION = Path(__file__).with_name("check.ini")
"""An empty one: the settings of whatever project the user stands in are not ours."""


class Teller:
    """A pytest plugin that writes an `Outcome` when a test begins, and when it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins: if nothing follows, it was this one that ended the process."""
        self._tell(Outcome(test=_name(nodeid), state="running", title=_title(nodeid)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test ended; setup and teardown count when they are not clean."""
        if report.when != "call" and report.passed:
            return
        self._tell(
            Outcome(
                test=_name(report.nodeid),
                state=report.outcome,
                title=_title(report.nodeid),
                seconds=report.duration,
                text=_text(report),
            )
        )

    def _tell(self, outcome: Outcome) -> None:
        os.write(self._descriptor, msgspec.json.encode(outcome) + b"\n")


def main() -> int:
    """Run the kit on the subject; pytest's exit code."""
    subject = msgspec.json.decode(os.environ[VARIABLE], type=Subject)
    options = ["-c", str(CONFIGURATION), "--rootdir", str(FILE.parent), "--tb=short", "-vv"]
    plugins = ["--disable-plugin-autoload", "-p", "no:cacheprovider"]
    skip = [f"--deselect=installed.py::TestInstalled::{name}" for name in subject.done]
    return pytest.main([*options, *plugins, *skip, str(FILE)], plugins=[Teller(subject.events)])


def _name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2]


def _title(nodeid: str) -> str:
    documented = getattr(AdapterConformance, _name(nodeid), None)
    return (documented.__doc__ or "").partition("\n")[0]


def _text(report: pytest.TestReport) -> str:
    """Why it was skipped, or what failed."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


if __name__ == "__main__":
    sys.exit(main())
