"""Damages run directories at random, and reads each with every command: no traceback, no hang.

    python benchmarks/fuzz.py [--seconds 300] [--seed N]

A damaged run is either read or refused by a `VqaEngineError`. Whatever else happens is printed
with the seed that makes it happen again, and the exit code is 1.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import click
import msgspec
from click.testing import CliRunner

from vqa_engine import reporting
from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.outcome import open_run
from vqa_engine.reporting.watching import look
from vqa_engine.results import Failure, MemoryEvent, Row
from vqa_engine.runs import export, journal, manifest
from vqa_engine.runs.account import Account
from vqa_engine.runs.comparing import Side, compare_runs
from vqa_engine.runs.directory import RunDirectory, open_journal, read_manifest
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest
from vqa_engine.runs.reading import graded
from vqa_engine.runs.rescoring import score_run
from vqa_engine.runs.timeline import summarise, timeline
from vqa_engine.scoring import metrics
from vqa_engine_cli.main import cli

SLOW = 20.0
"""Seconds for one reading; a hang would be the `PATIENCE` of `vqa_engine.runs.database`."""

VALUES: tuple[object, ...] = (
    *(None, -1, 0, 2**62, 1e308, float("inf"), "", "text", "\x1b[31m", "[/red]", b"", b"\xff\xfe"),
    *(b"null", b"[]", b"{}", b"[" * 5000, b'{"a":' * 5000, b'{"seconds":1e999}', b"1" * 5000),
    *(b'{"seconds":"1"}', b'{"question_id":null}', '{"seconds":1}', b'{"seconds":1,"answer":{}}'),
)
"""What replaces a column."""

TARGETS = (
    *(("questions", name) for name in ("id", "position", "record")),
    *(("rows", name) for name in ("adapter", "id", "cause", "degraded", "record")),
    *(("in_flight", name) for name in ("adapter", "id", "tries")),
    *(("events", name) for name in ("adapter", "time", "record")),
)

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"

SCHEMAS = (
    "CREATE TABLE more (a)",
    f"CREATE VIEW v AS {ENDLESS} SELECT x FROM n",
    "CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM rows; END",
    "DROP TABLE rows",
    "DROP TABLE events; CREATE VIEW events AS "
    f"{ENDLESS} SELECT x AS adapter, x AS time, x AS record FROM n",
    "DROP TABLE rows; CREATE VIEW rows AS SELECT 'a' AS adapter, 1 AS id, NULL AS cause, "
    "0 AS degraded, x'' AS record",
    "PRAGMA application_id = 7",
    "PRAGMA user_version = 9999",
)


def wanted() -> Manifest:
    """The manifest of the runs that are damaged."""
    return Manifest(
        vqa_engine="1",
        python="3",
        adapters={},
        plan=GenerationPlan(),
        question_set="q.jsonl",
        question_count=40,
        question_digest="d",
        metrics=("exact",),
    )


def make_run(path: Path) -> Path:
    """A finished run of forty questions."""
    with RunDirectory(path, wanted()) as directory:
        for number in range(40):
            question = Question(
                question_id=number, image=Path(f"{number}.png"), text="What?" * 40, answers=("yes",)
            )
            answer = Answer(text="yes", plan=GenerationPlan())
            row = (
                Row(adapter="a", question=question, answer=answer)
                if number % 5
                else Row(
                    adapter="a", question=question, failure=Failure(cause="image", message="gone")
                )
            )
            event = MemoryEvent(strategy="s", call="clear", question_id=number)
            directory.journal.record(number, row, (event,))
        directory.journal.begin("a", 41)
    return path


def damage(run: Path, chance: random.Random) -> str:
    """Do one kind of damage to a run; what it was."""
    kind = chance.choice((_column, _column, _bytes, _cut, _schema, _manifest, _kind))
    return f"{kind.__name__[1:]}: {kind(run, chance)}"


def readings(run: Path) -> Iterator[Callable[[], object]]:
    """Every way to read a run, and to continue it."""
    yield lambda: score_run(run)
    yield lambda: score_run(run, salvage=True)
    yield lambda: look(run, metrics=[])
    for salvage in (False, True):
        yield partial(_read, run, salvage=salvage)
        yield partial(_result, run, salvage=salvage)
        yield partial(_report, run, salvage=salvage)
        yield partial(compare_runs, Side(run, "a"), Side(run, "a"), salvage=salvage)
        yield partial(_command, run, salvage=salvage)
    yield lambda: _continued(run)


def _continued(run: Path) -> None:
    with RunDirectory(run, wanted()) as directory:
        account = Account("a", directory.journal, metrics("exact"), 40)
        account.tally()
        account.deaths(Question(question_id=41, image=b"", text="What?"))


def _read(run: Path, *, salvage: bool) -> None:
    with closing(open_journal(run, salvage=salvage)) as store:
        _all(store)
    read_manifest(run)


def _result(run: Path, *, salvage: bool) -> None:
    found = open_run(run, salvage=salvage)
    msgspec.json.encode((found.tallies, found.table(), list(found.records())), enc_hook=str)


def _report(run: Path, *, salvage: bool) -> None:
    with reporting.opened([run], salvage=salvage) as found:
        reporting.write(found, run.parent / "page.html")


def _command(run: Path, *, salvage: bool) -> None:
    """The commands that say more than one sentence, as programs and people read them."""
    for words in ("status --json", "status", "show", "score --json", "memory", "export"):
        options = ["--salvage"] if salvage and "status" not in words else []
        done = CliRunner().invoke(cli, [*words.split(), str(run), *options])
        if "which is a bug" in done.output or done.exit_code not in {0, 1}:
            raise AssertionError(f"{words}: {done.output}")
        if words.endswith("--json"):
            json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}")


def _all(store: Journal) -> None:
    for label in store.labels():
        store.tally(label, 40)
        store.begun(label)
        list(store.rows_after(label, 0))
        summarise(store.rows(label), store.events(label))
    list(timeline(store.events()))
    list(export.json_lines(graded(store.rows(), ())))


def _column(run: Path, chance: random.Random) -> str:
    (table, column), value = chance.choice(TARGETS), chance.choice(VALUES)
    where = chance.choice(("", " WHERE rowid % 7 = 0" if table in {"rows", "events"} else ""))
    with closing(sqlite3.connect(run / journal.FILE)) as db, suppress(sqlite3.Error):
        db.execute(f"UPDATE OR REPLACE {table} SET {column} = ?{where}", (value,))
        db.commit()
    return f"{table}.{column} = {str(value)[:40]!r}"


def _bytes(run: Path, chance: random.Random) -> str:
    content = bytearray((run / journal.FILE).read_bytes())
    for _ in range(chance.choice((1, 10, 300))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    (run / journal.FILE).write_bytes(content)
    return "random bytes"


def _cut(run: Path, chance: random.Random) -> str:
    os.truncate(run / journal.FILE, chance.randrange((run / journal.FILE).stat().st_size))
    return "cut off"


def _schema(run: Path, chance: random.Random) -> str:
    said = chance.choice(SCHEMAS)
    with closing(sqlite3.connect(run / journal.FILE)) as db:
        db.executescript(said)
    return said


def _manifest(run: Path, chance: random.Random) -> str:
    content = bytearray((run / manifest.FILE).read_bytes())
    content[chance.randrange(len(content))] = chance.randrange(256)
    other = (b"\xff\xfe", b"[" * 10_000, b"null", b"", b'{"adapters":{"[/x]":null}}')
    (run / manifest.FILE).write_bytes(chance.choice((bytes(content), *other)))
    return "manifest"


def _kind(run: Path, chance: random.Random) -> str:
    name = chance.choice(("lock", manifest.FILE, journal.FILE, f"{journal.FILE}-wal", "logs"))
    file, kind = run / name, chance.choice(("pipe", "folder", "link", "device", "nothing"))
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind != "nothing":
        file.symlink_to(run.parent / "victim" if kind == "link" else "/dev/zero")
    return f"{name} became {kind}"


def attempt(made: Path, seed: int) -> str:
    """Damage a copy of a run and read it; "" if all went well, else what did not."""
    chance = random.Random(seed)
    with TemporaryDirectory() as folder:
        victim, run = Path(folder, "victim"), Path(folder, "run")
        victim.write_text("mine")
        shutil.copytree(made, run)
        done = damage(run, chance)
        for reading in readings(run):
            begun = monotonic()
            try:
                reading()
            except VqaEngineError as error:
                if "\n" in str(error):
                    return f"seed {seed}: {done}: more than one line: {error}"
            except Exception:  # noqa: BLE001  that is what is looked for
                return f"seed {seed}: {done}\n{traceback.format_exc()}"
            if monotonic() - begun > SLOW:
                return f"seed {seed}: {done}: a reading took {monotonic() - begun:.0f} s"
        if victim.read_text() != "mine":
            return f"seed {seed}: {done}: a file outside the run was changed"
    return ""


@click.command(help=__doc__)
@click.option("--seconds", default=300.0, show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first one.")
def main(seconds: float, seed: int) -> None:
    """Try seed after seed until the time is over."""
    logging.disable(logging.WARNING)
    found, begun, first = 0, monotonic(), seed
    with TemporaryDirectory() as folder:
        made = make_run(Path(folder, "run"))
        while monotonic() - begun < seconds:
            if failure := attempt(made, seed):
                found += 1
                click.echo(failure)
            seed += 1
    click.echo(f"{seed - first} damaged runs, {found} failures")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
