"""`vqa-engine check`: outcomes as they come, even of a test that kills its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import a_distribution
from tests.environments import ROOT
from vqa_engine.testing import AdapterConformance
from vqa_engine.testing.standard import standard_tests
from vqa_engine_cli.main import cli

WANTED = {"test_choices": "died", "test_empty_question": "hung", "test_plan_is_obeyed": "failed"}
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

    class Brief(Good):
        def answer(self, question, plan):
            from vqa_engine import Answer
            return Answer(super().answer(question, plan).text)

    class Asked(Good):
        def load(self, model):
            if model.options != {"program": "a=b"}:
                raise RuntimeError("no program")
            super().load(model)

    class Unready(Good):
        def answer(self, question, plan):
            raise KeyError("weights")  # line 27 of this module
"""


@pytest.fixture(autouse=True)
def lethal(tmp_path: Path) -> None:
    """An adapter that kills, hangs and fails, installed in a folder."""
    modules = {"lethal_mod": MODULE}
    points = {
        name.lower(): f"lethal_mod:{name}" for name in ("Lethal", "Brief", "Asked", "Unready")
    }
    a_distribution(tmp_path, "lethal", points, modules=modules)


@pytest.mark.slow
def test_a_test_that_kills_or_hangs_is_an_outcome_and_the_next_ones_run(tmp_path: Path) -> None:
    others = standard_tests(AdapterConformance) - set(WANTED)
    waived = [f"--waive={name}=not looked at" for name in others]
    done = _check(tmp_path, "lethal", "--json", "--timeout=5", *waived)
    assert done.returncode == 3
    outcomes = {one["test"]: one for one in json.loads(done.stdout)["tests"]}
    assert {name: outcomes.pop(name)["state"] for name in WANTED} == WANTED
    assert {one["state"] for one in outcomes.values()} == {"skipped"}


@pytest.mark.slow
def test_a_person_sees_a_line_for_each_test(tmp_path: Path) -> None:
    left = "test_plan_is_obeyed"
    waived = [f"--waive={name}=no" for name in standard_tests(AdapterConformance) - {left}]
    lines = _check(tmp_path, "lethal", *waived).stdout.splitlines()
    assert "-       choices  (waived: no)" in lines
    assert "FAILED  plan is obeyed" in lines
    assert any("where 3 = len((1, 2, 3))" in line for line in lines)
    assert lines[-1].startswith("0 passed, 1 failed, ")


@pytest.mark.slow
def test_an_answer_that_is_a_text_alone_is_enough(tmp_path: Path) -> None:
    lines = _check(tmp_path, "brief").stdout.splitlines()
    assert "ok      plan is obeyed" in lines
    assert ", 0 failed" in lines[-1]


@pytest.mark.slow
def test_what_a_first_failure_keeps_from_running_is_not_said_not_to_apply(tmp_path: Path) -> None:
    lines = _check(tmp_path, "unready").stdout.splitlines()
    assert "FAILED  answers a plain question" in lines
    assert any("KeyError: 'weights' at lethal_mod.py:27" in line for line in lines)
    assert "not run determinism" in lines
    assert "not run until the failed ones pass" in lines[-1]


@pytest.mark.slow
def test_an_adapter_is_checked_with_its_options(tmp_path: Path) -> None:
    """Also from a folder with code of a checkpoint, which does not run."""
    left = "test_answers_a_plain_question"
    waived = [f"--waive={name}=no" for name in standard_tests(AdapterConformance) - {left}]
    planted = tmp_path / "checkpoint"
    planted.mkdir()
    (planted / "json.py").write_text("open('ran', 'w').close()")
    given = ("asked", "--adapter-option=program=a=b", *waived)
    lines = _check(tmp_path, *given, folder=planted).stdout.splitlines()
    assert "ok      answers a plain question" in lines
    assert not (planted / "ran").exists()


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_in_silence(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = _check(tmp_path, "brief", stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_nobody_offers_is_refused_at_once() -> None:
    result = CliRunner().invoke(cli, ["check", "no_such"])
    assert result.exit_code == 1
    assert "No adapter named 'no_such' is installed" in result.output


def test_a_waiver_wants_its_reason() -> None:
    result = CliRunner().invoke(cli, ["check", "lethal", "--waive", "test_choices"])
    assert result.exit_code == 2
    assert "gives no reason" in result.output


def _check(
    site: Path, *arguments: str, stdout: int = subprocess.PIPE, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: pytest does not run inside pytest."""
    hidden = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**hidden, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    code = "from vqa_engine_cli.main import main; main()"
    command = [sys.executable, "-P", "-c", code, "check", *arguments]
    return subprocess.run(
        command,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=folder,
    )
