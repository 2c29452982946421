"""The kit judges: the good adapter passes, and each bad one fails the test made for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.faults import FAULTS
from tests.conformance.good import Good
from vqa_engine.testing import AdapterConformance, Capabilities
from vqa_engine.testing.standard import GUARD, standard_tests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).with_name("bad_suite.py")

Results = dict[str, dict[str, str]]
"""By the adapter's name, the tests that failed, each with its message."""


@pytest.fixture(scope="session")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_suite(tmp_path_factory.mktemp("kit") / "report.xml")


def run_suite(report: Path) -> Results:
    """One pytest run over every adapter, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, str(SUITE), f"--junitxml={report}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return _read(report)


def _read(report: Path) -> Results:
    found: Results = defaultdict(dict)
    for case in ElementTree.parse(report).iter("testcase"):
        adapter = case.attrib["classname"].rpartition(".Test")[2]
        found[adapter].update(
            (case.attrib["name"], part.text or "")
            for part in case
            if part.tag in ("failure", "error")
        )
    return found


@pytest.mark.parametrize("adapter", ["Good", "Batches", "Scores"])
def test_a_good_adapter_passes(adapter: str, failures: Results) -> None:
    assert failures[adapter] == {}


@pytest.mark.parametrize("adapter", FAULTS, ids=lambda adapter: adapter.__name__)
def test_a_bad_adapter_fails_exactly_the_test_made_for_it(adapter: type, failures: Results) -> None:
    assert set(failures[adapter.__name__]) == {FAULTS[adapter]}


def test_every_standard_test_has_an_adapter_that_fails_it() -> None:
    assert standard_tests(AdapterConformance) - {GUARD} == set(FAULTS.values())


def test_a_failure_shows_values_and_says_what_to_do(failures: Results) -> None:
    text = failures["Talkative"]["test_plan_is_obeyed"]
    assert "Generate at most plan.max_tokens tokens" in text
    assert "len((1, 2, 3))" in text


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ("Overridden", "test_determinism is overridden"),
        ("Deleted", "test_order_independence is deleted"),
        ("Misspelt", "test_determinsm is waived, but there is no such standard test"),
    ],
)
def test_a_standard_test_that_is_gone_without_a_reason_fails(
    suite: str, said: str, failures: Results
) -> None:
    assert set(failures[suite]) == {GUARD}
    assert said in failures[suite][GUARD]


def test_with_a_reason_it_is_waived(failures: Results) -> None:
    assert failures["Waived"] == {}


def test_a_reason_has_to_be_given() -> None:
    with pytest.raises(ValueError, match="without a reason"):
        Capabilities(waived={"test_determinism": " "})


def test_the_test_that_tells_cannot_be_taken_away() -> None:
    with pytest.raises(TypeError, match=GUARD):
        type("TestSly", (AdapterConformance,), {"adapter": Good, GUARD: None})
