"""What a person or a program gets of a run that is over."""

from __future__ import annotations

import base64
import csv
import fcntl
import io
import json
import re
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.builders import a_question, png, questions
from tests.cli.test_cli import ROOT, Shell, shell, site
from tests.fakes import First, Raising, Scoring, Second
from vqa_engine import Answer, Engine, GenerationPlan, Question, RunResult, open_run
from vqa_engine.errors import ConfigurationError
from vqa_engine.scoring.formats import formatted
from vqa_engine_cli.main import cli
from vqa_engine_cli.pictures import inline

pytestmark = pytest.mark.slow

__all__ = ["shell", "site"]


class Even(First):
    """Right on even ids."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        return Answer("no" if int(question.question_id) % 2 else "yes")


@pytest.fixture
def result(tmp_path: Path) -> RunResult:
    with Engine([Second(), Even(), Raising()], isolation="inline") as engine:
        return engine.run(questions(4, image=Path("a.png")), tmp_path / "r")


def test_a_run_is_opened_again_as_it_was(result: RunResult) -> None:
    assert result.directory is not None
    opened = open_run(result.directory)
    assert opened.tallies == result.tallies
    assert (opened.accuracy("even"), opened.accuracy("second")) == (50.0, 100.0)
    assert str(opened) == opened.table()
    with pytest.raises(ConfigurationError, match=r"Say whose accuracy: .* even, raising, second"):
        opened.accuracy()


def test_rows_have_their_scores(result: RunResult) -> None:
    scores = [dict(one.scores).popitem()[1] for one in result.graded("even")]
    assert scores == [1, 0, 1, 0]
    assert [dict(one.scores).popitem()[1] for one in result.graded("raising")] == [1, None] * 2


def test_rows_are_a_frame(result: RunResult) -> None:
    frame = result.to_pandas("raising")
    assert list(frame["answer"].fillna("–")) == ["yes", "–"] * 2
    assert list(frame["image"]) == ["a.png"] * 4
    assert frame[result.scores["raising"][0].metric].sum() == 2


def test_show_chooses_what_is_worth_a_look(shell: Shell, result: RunResult) -> None:
    run = str(result.directory)
    out, _ = shell("show", run, "--wrong")
    assert "1: Is it red?" in out
    assert "✗ even: no  (0)" in out
    assert "second" not in out
    out, _ = shell("show", run, "--failed")
    assert out.count("! raising: ValueError: odd questions are beyond me") == 2
    out, err = shell("show", run, "--differ", "--limit", "1")
    assert "✓ second: yes  (1)" in out
    assert "and 1 more" in err


def test_show_has_the_choices_and_how_sure_a_chosen_one_is(shell: Shell, tmp_path: Path) -> None:
    plan = GenerationPlan(choose="likelihood-text")
    asked = [a_question(1, choices=("ant", "bee"), right=0)]
    with Engine(Scoring(), isolation="inline", plan=plan) as engine:
        engine.run(asked, tmp_path / "r")
    out, _ = shell("show", str(tmp_path / "r"))
    assert "choices  A. ant  B. bee" in out
    assert "scoring: bee, 58 % sure  (0)" in out.replace("✗ ", "")


def test_export_has_picture_prompt_score_and_filters(shell: Shell, result: RunResult) -> None:
    out, _ = shell("export", str(result.directory), "--wrong")
    first, _ = [json.loads(line) for line in out.splitlines()]
    assert (first["question_id"], first["image"], first["prompt"]) == (1, "a.png", None)
    assert list(first["scores"].values()) == [0]
    out, _ = shell("export", str(result.directory), "--format", "csv", "--adapter", "raising")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows[0]["answer"] == "yes"
    assert rows[1]["error"] == "ValueError: odd questions are beyond me"


def test_a_file_s_name_says_that_it_is_a_spreadsheet(
    shell: Shell, result: RunResult, tmp_path: Path
) -> None:
    shell("export", str(result.directory), "-o", str(tmp_path / "answers.csv"))
    assert (tmp_path / "answers.csv").read_text().startswith("adapter,question_id,")
    refused = CliRunner().invoke(cli, ["export", str(result.directory), "-o", "answers.xlsx"])
    assert refused.exit_code == 2
    assert "answers.xlsx cannot be written; spreadsheets open a .csv file." in refused.output


def test_show_says_when_no_question_is_like_that(shell: Shell, result: RunResult) -> None:
    out, err = shell("show", str(result.directory), "--failed", "--adapter", "second")
    assert (out, err) == ("", f"{result.directory} has no such question.\n")


def test_scores_come_in_the_formats_of_papers(result: RunResult) -> None:
    markdown = formatted(result.scores, "markdown")
    assert re.search(r"\| even \| \S+ \| 50\.0 \(\d+\.\d–\d+\.\d\) \| 50\.0 \| 4 \| 0 \|", markdown)
    latex = formatted({"a_b": next(iter(result.scores.values()))}, "latex")
    assert latex.startswith("\\begin{tabular}{llrrrr}")
    assert "100.0 (20.7--100.0)" in latex
    assert "a\\_b & " in latex
    rows = list(csv.DictReader(io.StringIO(formatted(result.scores, "csv"))))
    assert rows[0]["kind"] == "overall"
    assert json.loads(formatted(result.scores, "json"))[0]["questions"] == 4


def test_the_formats_are_those_of_the_command(shell: Shell, result: RunResult) -> None:
    out, _ = shell("score", str(result.directory), "--format", "markdown")
    assert out == formatted(open_run(result.directory or "").scores, "markdown")


def test_the_documented_events_are_those_that_come(shell: Shell) -> None:
    table = (ROOT / "docs" / "json.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    command = ("-a", "raising", "-a", "noting", "--questions", shell.jsonl(2), "--json", "-v")
    out, _ = shell(*command, code=3)
    events = [json.loads(line) for line in out.splitlines()]
    rare = {"memory", "failed", "error", "fetching"}
    assert {event["event"] for event in events} | rare == documented
    answer = next(event for event in events if event["event"] == "answer")
    assert all(f"`{key}`" in table for key in answer if key != "event")
    result = events[-1]
    assert all(f"`{key}`" in table for key in result if key != "event")
    assert all(f"`{key}`" in table for each in result["scores"].values() for key in each[0])
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["done"], last["total"]) == (2, 2)


class Terminal(io.StringIO):
    """A terminal that shows pictures, if the environment says so."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("name", "value", "start"),
    [
        ("TERM_PROGRAM", "iTerm.app", "\033]1337;File=inline=1"),
        ("TERM", "xterm-kitty", "\033_Ga=T,f=100,r=12,q=2,m=0;"),
    ],
)
def test_pictures_are_shown_where_the_terminal_can(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, start: str
) -> None:
    for variable in ("TERM_PROGRAM", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    asked = a_question(1, image=png())
    assert inline(asked, Terminal()) == ""
    monkeypatch.setenv(name, value)
    assert inline(asked, Terminal()).startswith(start)
    assert inline(asked, io.StringIO()) == ""
    assert inline(a_question(1, image=Path("none.png")), Terminal()) == ""


def test_a_large_picture_is_sent_to_kitty_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    noise = Image.effect_noise((1200, 900), 60)
    parts = inline(a_question(1, image=noise), Terminal()).split("\033\\")[:-1]
    assert all(len(part) < 4096 + 40 for part in parts)
    assert [part.partition(";")[0][-1] for part in parts] == ["1"] * (len(parts) - 1) + ["0"]
    data = "".join(part.partition(";")[2] for part in parts)
    assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) == 512


def test_rows_are_shown_and_exported_with_the_metrics_of_their_run(
    tmp_path: Path, shell: Shell
) -> None:
    with Engine([Second()], isolation="inline", metrics=["anls"]) as engine:
        engine.run(questions(2, image=Path("a.png")), tmp_path / "r")
    for command in (("show", "--json"), ("export",)):
        said, _ = shell(command[0], str(tmp_path / "r"), *command[1:])
        assert [list(json.loads(row)["scores"]) for row in said.splitlines()] == [["anls"]] * 2


def test_runs_without_a_row_are_removed_once_confirmed(tmp_path: Path, shell: Shell) -> None:
    with Engine([Second()], isolation="inline") as engine:
        for name in ("kept", "empty", "held", "more"):
            engine.run(questions(2, image=Path("a.png")), tmp_path / name)
    for name in ("empty", "held", "more"):
        with sqlite3.connect(tmp_path / name / "journal.sqlite") as journal:
            journal.execute("DELETE FROM rows")
    (tmp_path / "more" / "notes.txt").write_text("mine")
    with (tmp_path / "held" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said, _ = shell("runs", str(tmp_path), "--prune", "--yes")
    assert set(said.splitlines()) == {
        f"Removed {tmp_path / 'empty'}, which had no row.",
        f"{tmp_path / 'held'} is in use, so it stays.",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "held", "more"}
    assert "Remove" in shell("runs", str(tmp_path), "--prune", code=1)[0]
    assert (tmp_path / "held").exists()


def test_one_adapter_s_accuracy_needs_no_name() -> None:
    with Engine(First(), isolation="inline") as engine:
        assert engine.run([a_question(1)]).accuracy() == 100.0
