"""Running the kit on an installed adapter: pytest, with its tests in a process that may die.

pytest-xdist restarts that process after a crash, and pytest-timeout ends it when a test hangs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Literal

import msgspec
import pytest
from attrs import field, frozen

from vqa_engine.errors import WorkerError
from vqa_engine.plugins.entry_points import ADAPTERS, select
from vqa_engine.testing.capabilities import Capabilities

FILE = Path(__file__).with_name("installed.py")
_CONFIGURATION = Path(__file__).with_name("check.ini")
"""An empty one: the settings of the project in the working folder do not apply."""

ADAPTER, CAPABILITIES = "VQA_ENGINE_CHECK_ADAPTER", "VQA_ENGINE_CHECK_CAPABILITIES"
"""Environment variables for `installed.py`: the adapter's name, its capabilities as JSON."""

LONGEST = 600.0
"""Seconds that one test may take; a large model takes minutes to load."""

_CRASHED = "???"
"""The phase in pytest-xdist's report of a test that ended its process."""

State = Literal["passed", "failed", "skipped", "not run", "died", "hung"]

_BLOCKED = re.compile(r"\bsee test_\w+")
"""How the kit says that another test has to pass first."""


@frozen(kw_only=True)
class Outcome:
    """One standard test: how it ended, after how many seconds, and why.

    A test that does not concern this adapter was `skipped`, one that means nothing before
    another one passes was `not run`. A test that ended its process has `died`, one that
    passed the time limit has `hung`.
    `title` is the first line of the test's docstring: what it asks for.
    """

    test: str
    state: State
    title: str = ""
    seconds: float = 0.0
    text: str = ""

    @property
    def harmless(self) -> bool:
        """Whether nothing is wrong with it: what it was not run for is counted there."""
        return self.state in ("passed", "skipped", "not run")


def check(
    adapter: str,
    capabilities: Capabilities,
    on_outcome: Callable[[Outcome], None],
    *,
    longest: float = LONGEST,
) -> None:
    """Run every standard test on the plugin of this name, and pass on each outcome.

    A test that kills its process, or takes longer than `longest` seconds, is an outcome
    like any other: the tests after it run in a new process.

    Raises:
        AdapterNotInstalled: no plugin has this name.
        AdapterClash: two distributions offer it.
        WorkerError: the tests cannot run at all.
        Exception: what `on_outcome` raised, which ends the tests.
    """
    select(ADAPTERS, adapter)
    outcomes = _Outcomes(on_outcome, longest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADAPTER, adapter)
        patch.setenv(CAPABILITIES, msgspec.json.encode(capabilities).decode())
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTHONSAFEPATH", "1")  # modules in the working folder may be a checkpoint's
        code = pytest.main(_arguments(longest), plugins=[outcomes])
    if outcomes.raised:
        raise outcomes.raised[0]
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or outcomes.error:
        text = outcomes.error or f"pytest ended with exit code {int(code)}"
        last = text.strip().splitlines()[-1]
        raise WorkerError(
            f"The tests could not run: {last}", label="check", cause="exited", detail=text
        )


def _arguments(longest: float) -> list[str]:
    process = ["-p", "xdist", "-n", "1", "--max-worker-restart", "100"]
    # A thread ends a test that hangs in native code, where no signal handler runs.
    limit = ["-p", "timeout", "--timeout", str(longest), "--timeout-method", "thread"]
    project = ["-c", str(_CONFIGURATION), "--rootdir", str(FILE.parent)]
    plain = ["-p", "no:cacheprovider", "--tb", "short", "-vv"]
    return [*process, *limit, *project, *plain, str(FILE)]


@frozen(eq=False)
class _Outcomes:
    """A pytest plugin that turns reports into outcomes."""

    on_outcome: Callable[[Outcome], None]
    longest: float
    begun: dict[str, float] = field(factory=dict)
    errors: list[str] = field(factory=list)
    raised: list[Exception] = field(factory=list)

    @property
    def error(self) -> str:
        """Why the tests could not be collected, empty when they could."""
        return "\n".join(self.errors)

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """pytest itself prints nothing; its terminal plugin stays, for its options."""
        config.pluginmanager.set_blocked("terminalreporter")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.begun[nodeid] = monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of a test ended; setup and teardown count when they are not clean."""
        if report.when in ("setup", "teardown") and report.passed:
            return
        try:
            self.on_outcome(self._outcome(report))
        except Exception as error:  # noqa: BLE001  pytest would print it as an error of its own
            self.raised.append(error)
            pytest.exit("whoever wanted the outcomes wants no more")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """The file with the tests was imported, or not."""
        if report.failed:
            self.errors.append(report.longreprtext)

    def _outcome(self, report: pytest.TestReport) -> Outcome:
        from vqa_engine.testing.conformance import AdapterConformance

        name = report.nodeid.rpartition("::")[2]
        title = (getattr(AdapterConformance, name, None).__doc__ or "").partition("\n")[0]
        state: State = report.outcome
        seconds, text = report.duration, _text(report)
        if state == "skipped" and not text.startswith("waived") and _BLOCKED.search(text):
            state = "not run"
        if report.when == _CRASHED:
            seconds = monotonic() - self.begun[report.nodeid]
            state, text = "died", "it ended its process"
            if seconds >= self.longest:
                state, text = "hung", f"it did not end within {self.longest:g} seconds"
        return Outcome(test=name, state=state, title=title, seconds=seconds, text=text)


def _text(report: pytest.TestReport) -> str:
    """Why it was skipped, or what failed."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    lines = report.longreprtext.splitlines()
    return "\n".join(line for line in lines if not line.startswith("[gw"))  # pytest-xdist's
