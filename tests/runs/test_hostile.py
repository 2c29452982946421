"""A run directory from anywhere acts on nothing, and is read or refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner

from vqa_engine.errors import JournalError, RunError
from vqa_engine.reporting.view import Viewer
from vqa_engine.results import MemoryEvent
from vqa_engine.runs import database
from vqa_engine.runs.directory import RunDirectory, open_journal
from vqa_engine.runs.journal import FILE, Journal
from vqa_engine.runs.manifest import FILE as MANIFEST
from vqa_engine.runs.rescoring import score_run
from vqa_engine_cli.main import cli

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
fuzz: Any = import_module("fuzz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody changes."""
    return Path(fuzz.make_run(tmp_path_factory.mktemp("made") / "run"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run to damage."""
    return Path(fuzz.make_run(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(25), 140, 249, 50137])
def test_a_damaged_run_is_read_or_refused(made: Path, seed: int) -> None:
    assert fuzz.attempt(made, seed) == ""


@pytest.mark.parametrize(
    "name",
    [
        "lock",
        "manifest.json",
        "manifest.part",
        FILE,
        f"{FILE}-wal",
        "logs",
        "logs/a.log",
        "logs/b/a",
    ],
)
@pytest.mark.parametrize("hard", [False, True])
def test_nothing_is_written_through_a_link(run: Path, name: str, hard: bool) -> None:
    victim = run.parent / "victim"
    victim.write_text("mine, and longer than a process id is")
    (run / "logs" / "b").mkdir(parents=True, exist_ok=True)
    if name == "logs":
        (run / "logs" / "b").rmdir()
        (run / name).rmdir()
    (run / name).unlink(missing_ok=True)
    if hard:
        (run / name).hardlink_to(victim)
    else:
        (run / name).symlink_to(victim)
    with suppress(RunError):
        RunDirectory(run, fuzz.wanted()).close()
    assert victim.read_text() == "mine, and longer than a process id is"


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_nobody_waits_for_a_pipe_in_the_place_of_a_journal(run: Path, end: str) -> None:
    (run / f"{FILE}{end}").unlink(missing_ok=True)
    os.mkfifo(run / f"{FILE}{end}")
    with pytest.raises(RunError, match="is not a file that vqa-engine made"):
        RunDirectory(run, fuzz.wanted())


@pytest.mark.parametrize("said", fuzz.SCHEMAS)
def test_a_journal_of_other_tables_is_refused_and_left_alone(run: Path, said: str) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        db.executescript(said)
    before = (run / FILE).read_bytes()
    for use in (database.READING, database.WRITING):
        with pytest.raises(JournalError):
            Journal(run / FILE, use=use)
    assert (run / FILE).read_bytes() == before


def test_a_foreign_database_gets_no_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA application_id = 77")
        db.commit()
    with pytest.raises(JournalError, match="not written by this version"):
        Journal(tmp_path / FILE)


def test_a_run_that_begins_at_this_moment_has_no_rows(tmp_path: Path) -> None:
    """Its writer makes the file, and the tables an instant later."""
    file = tmp_path / FILE
    file.touch()
    with closing(open_journal(tmp_path)) as journal:
        assert not list(journal.rows())
    assert file.read_bytes() == b""


def test_a_query_that_goes_in_circles_ends(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with closing(open_journal(run)) as journal, pytest.raises(JournalError, match="interrupted"):
        list(journal._select(f"{fuzz.ENDLESS} SELECT x FROM n WHERE x < 0", ()))


def test_intact_rows_are_scored_without_the_damaged_ones(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = score_run(run).scores["a"][0].overall
    damage(run)
    with pytest.raises(JournalError, match="--salvage"):
        score_run(run)
    kept = score_run(run, salvage=True).scores["a"][0].overall
    assert (whole.count, kept.count) == (32, 30)
    assert "2 of its rows cannot be read" in caplog.text


READING = (
    *("show {} --json --limit 99", "memory {}", "export {}", "score {}", "score {} {other}"),
    *("compare {} {other}", "report {}"),
)


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("damaged", ["rows", "manifest"])
def test_a_damaged_run_is_read_with_salvage(
    run: Path, made: Path, command: str, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(run) if damaged == "rows" else (run / MANIFEST).write_text("{")
    words = command.format(run, other=made).split()
    refused = CliRunner().invoke(cli, words)
    assert (refused.exit_code, "--salvage" in refused.output) == (1, True)
    done = CliRunner().invoke(cli, [*words, "--salvage"])
    if damaged == "manifest" and "other" in command:  # nobody knows whether they asked the same
        assert (done.exit_code, "manifest" in done.output or "may be" in done.output) == (1, True)
        return
    assert done.exit_code == 0, done.output
    assert caplog.messages
    assert "2 of its rows cannot" in caplog.text or damaged == "manifest"


def test_a_look_shows_what_can_be_read(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(run)
    for command in (["status", str(run)], ["runs", str(run.parent)]):
        caplog.clear()
        said = CliRunner().invoke(cli, command)
        assert (said.exit_code, "38/40" in said.output) == (0, True), said.output
        assert "2 of its rows cannot be read" in caplog.text
    assert json.loads(CliRunner().invoke(cli, ["status", "--json", str(run)]).output)["unread"] == 2


def test_the_page_of_a_damaged_run_says_what_is_left_out(run: Path) -> None:
    damage(run)
    with Viewer([run], (), (), salvage=True) as viewer:
        assert "run is damaged: 2 rows cannot be read" in viewer.snapshot.page


def test_a_salvaged_journal_has_what_another_has(made: Path) -> None:
    with closing(open_journal(made)) as one, closing(open_journal(made, salvage=True)) as other:
        assert other.unread == 0
        for read in (
            lambda journal: journal.labels(),
            lambda journal: journal.tally("a", 50),
            lambda journal: journal.begun("a"),
            lambda journal: list(journal.placed_rows("a", failed=False)),
            lambda journal: list(journal.placed_rows("a", failed=True)),
            lambda journal: list(journal.rows_after("a", 7)),
            lambda journal: list(journal.events()),
        ):
            assert read(one) == read(other)


def test_a_tree_that_leads_to_one_page_again_and_again_ends(run: Path) -> None:
    """Eight levels of two hundred ways each are more events than anybody can wait for."""
    with closing(Journal(run / FILE)) as journal:
        event = MemoryEvent(strategy="s", call="c", detail="d" * 999)
        journal.record_events("a", (event,) * 99)
    with closing(sqlite3.connect(run / FILE)) as db:
        ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
    content = bytearray((run / FILE).read_bytes())
    pages = [memoryview(content)[at : at + 4096] for at in range(0, len(content), 4096)]
    leaves = [number for number, page in enumerate(pages, 1) if b"d" * 999 in bytes(page)]
    for page, child in pairwise((root, *leaves[:8])):
        leading(pages[page - 1], child)
    (run / FILE).write_bytes(content)
    with closing(open_journal(run)) as journal, pytest.raises(JournalError, match="second time"):
        list(journal.events())
    with closing(open_journal(run, salvage=True)) as journal:
        assert len(list(journal.events())) < 99


def leading(page: memoryview, child: int) -> None:
    """Make of a page of SQLite one that leads to another two hundred times.

    https://sqlite.org/fileformat2.html#b_tree_pages
    """
    cells = 200
    start = 4096 - 5 * cells
    page[:12] = struct.pack(">BHHHBI", 5, 0, cells, start, 0, child)
    for cell in range(cells):
        at = start + 5 * cell
        page[12 + 2 * cell : 14 + 2 * cell] = at.to_bytes(2)
        page[at : at + 5] = struct.pack(">IB", child, 127)


@pytest.mark.parametrize(
    "said", ["UPDATE rows SET cause = x'ff' WHERE id = 0", "UPDATE in_flight SET tries = 'many'"]
)
def test_a_column_of_another_type_is_one_sentence(run: Path, said: str) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        db.execute(said)
        db.commit()
    with closing(open_journal(run)) as journal:
        read = partial(journal.tally, "a") if "cause" in said else partial(journal.tries, "a", 41)
        with pytest.raises(JournalError, match="cannot be read"):
            read()
    assert CliRunner().invoke(cli, ["status", str(run)]).exit_code == 0


def test_a_number_that_no_message_carries_is_damage(run: Path) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        ((record,),) = db.execute("SELECT record FROM rows WHERE id = 1")
        row = json.loads(record)
        row["seconds"], row["prediction"] = 1.0, {"expected": 10**400, "bound": 1}
        db.execute("UPDATE rows SET record = ? WHERE id = 1", [json.dumps(row).encode()])
        db.commit()
    for command in ("memory", "report", "score", "show"):
        said = CliRunner().invoke(cli, [command, str(run)])
        assert (said.exit_code, "--salvage" in said.output) == (1, True), said.output
    assert CliRunner().invoke(cli, ["memory", str(run), "--salvage"]).exit_code == 0


def test_a_row_with_the_question_of_another_is_damaged(run: Path) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        db.execute(
            "UPDATE questions SET record = (SELECT record FROM questions WHERE id = 2) WHERE id = 1"
        )
        db.commit()
    page = ["report", str(run)]
    assert "its question is another" in CliRunner().invoke(cli, page).output
    assert CliRunner().invoke(cli, [*page, "--salvage"]).exit_code == 0
    with closing(open_journal(run, salvage=True)) as journal:
        assert journal.unread == 1


def damage(run: Path) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        db.execute("UPDATE rows SET record = '{' WHERE id IN (1, 2)")
        db.commit()


@pytest.mark.slow
def test_rows_beyond_a_damaged_page_are_salvaged(run: Path) -> None:
    with closing(sqlite3.connect(run / FILE)) as db:
        db.execute("VACUUM")
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    content, found = (run / FILE).read_bytes(), []
    for page in range(1, pages):
        (run / FILE).write_bytes(
            content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :]
        )
        with closing(open_journal(run, salvage=True)) as journal:
            found.append(len(list(journal.rows())))
    assert max(found) == 40
    assert any(0 < count < 40 for count in found)


def test_a_run_directory_deleted_in_mid_run_is_an_error(run: Path) -> None:
    with suppress(RunError), RunDirectory(run, fuzz.wanted()) as directory:
        directory.journal.begin("a", 50)
        shutil.rmtree(run)
        with pytest.raises(JournalError, match="deleted or replaced"):
            directory.journal.begin("a", 51)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("killed", [False, True])
def test_another_user_reads_a_run_that_is_not_his(made: Path, killed: bool) -> None:
    with TemporaryDirectory() as folder:
        run = Path(shutil.copytree(made, Path(folder, "run")))
        if killed:
            writer = Journal(run / FILE)
            writer.begin("a", 99)
            shutil.copytree(run, Path(folder, "killed"))
            writer.close()
            run = Path(folder, "killed")
            (run / f"{FILE}-shm").unlink()
        for path in (Path(folder), run):
            path.chmod(0o755)
        before = sorted(file.name for file in run.iterdir())
        with another_user(), closing(open_journal(run)) as journal:
            assert len(list(journal.rows())) == 40
            assert journal.begun("a") == ({41, 99} if killed else {41})
        assert sorted(file.name for file in run.iterdir()) == before


@contextmanager
def another_user() -> Iterator[None]:
    """While the block runs, this process has the rights of nobody."""
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
