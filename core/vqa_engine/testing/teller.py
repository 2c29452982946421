"""The pytest plugin of `vqa-engine check`: tells each outcome as it comes, to its host."""

from __future__ import annotations

import os

import msgspec
import pytest

from vqa_engine.testing.conformance import AdapterConformance
from vqa_engine.testing.subject import VARIABLE, Outcome, Subject


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins: if nothing follows, it was this one that ended the process."""
    _tell(Outcome(test=_name(nodeid), state="running", title=_title(nodeid)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One phase of a test ended; setup and teardown count when they are not clean."""
    if report.when != "call" and report.passed:
        return
    _tell(
        Outcome(
            test=_name(report.nodeid),
            state=report.outcome,
            title=_title(report.nodeid),
            seconds=report.duration,
            text=_text(report),
        )
    )


def _tell(outcome: Outcome) -> None:
    subject = msgspec.json.decode(os.environ[VARIABLE], type=Subject)
    os.write(subject.events, msgspec.json.encode(outcome) + b"\n")


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
