"""`vqa-engine check`: outcomes as they come, even of a test that kills its process."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import a_distribution
from vqa_engine.errors import AdapterNotInstalled
from vqa_engine.testing import AdapterConformance, check
from vqa_engine.testing.check import _check
from vqa_engine.testing.standard import standard_tests
from vqa_engine.testing.subject import Subject
from vqa_engine_cli.main import cli

WANTED = ("test_choices", "test_empty_question", "test_plan_is_obeyed")
DONE = tuple(sorted(standard_tests(AdapterConformance) - set(WANTED)))
MODULE = """
    import os, signal, time
    from attrs import evolve
    from tests.conformance.good import Good

    class Lethal(Good):
        def answer(self, question, plan):
            if question.choices:
                os.kill(os.getpid(), signal.SIGKILL)
            if not question.text:
                time.sleep(600)
            return evolve(super().answer(question, plan), token_ids=(1, 2, 3))
"""


@pytest.fixture(autouse=True)
def lethal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that kills, hangs and fails, installed."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = {"lethal_mod": MODULE}
    a_distribution(tmp_path, "lethal", {"lethal": "lethal_mod:Lethal"}, modules=modules)


def test_a_test_that_kills_or_hangs_is_an_outcome_and_the_next_ones_run() -> None:
    subject = Subject(adapter="lethal", done=DONE)
    outcomes = {outcome.test: outcome for outcome in _check(subject, longest=25)}
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == dict(zip(WANTED, ("died", "hung", "failed"), strict=True))
    assert "SIGKILL" in outcomes["test_choices"].text
    assert "within 25 seconds" in outcomes["test_empty_question"].text
    assert "len((1, 2, 3))" in outcomes["test_plan_is_obeyed"].text


def test_a_name_that_nobody_offers_is_refused_at_once() -> None:
    with pytest.raises(AdapterNotInstalled):
        check.check("no_such")


def test_a_waiver_wants_its_reason() -> None:
    result = CliRunner().invoke(cli, ["check", "lethal", "--waive", "test_choices"])
    assert result.exit_code == 2
    assert "gives no reason" in result.output
