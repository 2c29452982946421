"""The disk is full wherever something is written: one sentence, and the same command goes on."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import questions
from tests.fakes import Instant
from tests.reporting.builders import many
from tests.surroundings.conftest import room
from vqa_engine import Engine
from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import OutputError, QuestionSetError, RunError
from vqa_engine.files import surroundings
from vqa_engine.questions.spool import Record, Spool
from vqa_engine.questions.store import ImageStore
from vqa_engine.runs.directory import RunDirectory
from vqa_engine.serving.record import Record as Served
from vqa_engine.serving.record import served_manifest
from vqa_engine.worker.log import WorkerLog
from vqa_engine_cli.main import cli

CARD = """
task = "t"
version = 1
title = "T"
licence = "none"
[data]
files = ["q.csv"]
[columns]
question = "question"
image = "image"
answers = "answers"
[prompt]
text = "{question}"
[score]
metrics = ["exact"]
"""


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("export {run} -o {target}", "answers.jsonl"),
        ("export {run} --format csv -o {target}", "answers.csv"),
        ("report {run} -o {target}", "page.html"),
        ("new-adapter hue -o {target}", "hue"),
        ("export {run} -o {target}", "/dev/full"),
    ],
)
def test_a_file_without_room_is_one_sentence_and_the_command_works_later(
    finished: Path, tmp_path: Path, command: str, target: str
) -> None:
    (tmp_path / target).write_text("old") if "." in target else None
    words = command.format(run=finished, target=tmp_path / target).split()
    with room(16):
        said = CliRunner().invoke(cli, words)
    assert (said.exit_code, said.stderr.count("\n")) == (1, 1)
    assert "cannot be written" in said.stderr
    assert "Make room and run the same command again" in said.stderr
    if target.startswith("/"):
        return
    assert [file.name for file in tmp_path.iterdir()] == ([target] if "." in target else [])
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert (tmp_path / target).is_dir() or (tmp_path / target).read_text() != "old"


def test_a_card_without_room_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(CARD)
    (tmp_path / "q.csv").write_text("image,question,answers\na.png,Is it?,yes\n")
    words = ["tasks", "pin", str(tmp_path / "card.toml"), "-o", str(tmp_path / "pinned.toml")]
    with room(150):  # the questions' own file has some bytes
        said = CliRunner().invoke(cli, words)
    assert (said.exit_code, said.stderr.count("\n")) == (1, 1)
    assert "pinned.toml cannot be written" in said.stderr
    assert CliRunner().invoke(cli, words).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 100, 40_000, 120_000])
def test_a_run_without_room_says_so_and_continues(tmp_path: Path, size: int) -> None:
    asked = questions(400, text="Is it red? " * 20)
    run = tmp_path / "r"
    with Engine(Instant(), isolation="inline") as engine:
        with room(size), pytest.raises(RunError) as error:
            engine.run(asked, run)
        assert "\n" not in str(error.value)
        assert "room" in str(error.value)
        assert engine.run(asked, run).complete


def test_a_full_disk_of_the_served_record_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RunDirectory(tmp_path / "r", served_manifest([], GenerationPlan())) as opened:
        record = Served(opened)
        with room(0), caplog.at_level(logging.ERROR):
            record.add([(row, ()) for row in many(3, ["a"])])
        assert "make room" in record.error
        record.add([(row, ()) for row in many(3, ["a"])])
        assert opened.journal.tally("a").done == 3


def test_questions_and_their_images_without_room_are_errors_of_ours(tmp_path: Path) -> None:
    spool = Spool()
    with room(0), pytest.raises(OutputError, match="TMPDIR"):
        spool.add(Record(question_id=1, text="Is it?" * 10_000, number=1))
    with room(0), pytest.raises(QuestionSetError, match="VQA_ENGINE_CACHE"):
        ImageStore(tmp_path).put(b"a picture")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_log_without_room_is_an_error_of_the_system(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path, "a")
    with room(0), pytest.raises(OSError, match="large") as error:
        log.header("a under python")
    found = surroundings(error.value)
    assert found is not None
    assert "Make room" in str(found)
    log.close()


def test_what_may_be_a_bug_is_not_blamed_on_the_disk() -> None:
    assert surroundings(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
