"""Standard streams that are full, closed, narrow, or whose reader left; no home, no folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

Said = tuple[int, str, str]
READING = ("score", "score --json", "score --format csv", "show", "status", "export", "memory")
STREAMS: dict[str, tuple[list[object], int]] = {
    "full": (["full"], 1),
    "stdout closed": (["close", 1], 0),
    "stderr closed": (["close", 2], 0),
    "all closed": (["close", 0, 1, 2], 0),
    "reader gone": (["unread", 1], 0),
    "readers gone": (["unread", 1, 2], 0),
    "ascii": (["narrow", "ascii"], 0),
    "latin-1": (["narrow", "latin-1"], 0),
    "homeless": (["homeless"], 0),
    "another user": (["another"], 0),
}


@pytest.fixture(scope="module")
def run(finished: Path) -> Iterator[Path]:
    """A run that everybody may read, and nobody else may write."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(shutil.copytree(finished, Path(folder, "run")))


def attempts(run: Path, *cases: tuple[Sequence[object], list[str]]) -> list[Said]:
    """What each command gives, in its surroundings."""
    driver = Path(__file__).with_name("driver.py")
    words = [sys.executable, str(driver), str(run), *map(json.dumps, cases)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=280)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_reading_commands_end_well_whatever_the_streams_are(run: Path, name: str) -> None:
    how, code = STREAMS[name]
    lines = [*(f"{one} {run}" for one in READING), "--version", "--help", f"runs {run.parent}"]
    for line, (got, _, err) in zip(
        lines, attempts(run, *((how, line.split()) for line in lines)), strict=True
    ):
        assert got == code, (line, err)
        assert "Traceback" not in err
        if code:
            assert err.startswith("Error: Standard output cannot be written: No space left"), line
            assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "stderr closed", "all closed", "readers gone", "ascii"])
def test_other_commands_end_well_whatever_the_streams_are(
    run: Path, name: str, tmp_path: Path
) -> None:
    how, code = STREAMS[name]
    lines = [
        *("tasks", "tasks show gqa", f"view {run}", f"report {run} -o {tmp_path / 'p'}"),
        *(f"compare {run} -a a -a b", "pull nobody@nowhere", "ask --no-such-option", "help run"),
    ]
    if name == "all closed":  # these start workers
        lines += [f"run -q --limit 1 --fresh -o {tmp_path / 'r'}", "doctor"]
    other = {"pull": 1, "ask": 2}
    for line, (got, out, err) in zip(
        lines, attempts(run, *((how, line.split()) for line in lines)), strict=True
    ):
        assert got == other.get(line.split()[0], code), (line, out, err)
        assert "Traceback" not in out + err
        assert "is a bug" not in out + err
        assert err.count("\n") < 12, err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output", "said"),
    [
        ("full", "f.json", "Standard output cannot be written"),
        ("ascii", "no/f.json", "f.json cannot be written: No such file or directory"),
        ("all closed", "f.json", ""),
    ],
)
def test_a_self_test_keeps_what_it_found(
    run: Path, tmp_path: Path, name: str, output: str, said: str
) -> None:
    file = tmp_path / output
    words = ["selftest", "-a", "smolvlm@builtin", "--output", str(file)]
    ((code, out, err),) = attempts(run, (STREAMS[name][0], words))
    assert code == bool(said)
    assert said in err
    assert file.is_file() or "12" in out
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_tables_are_drawn_in_what_the_stream_has(run: Path) -> None:
    (narrow, whole) = attempts(
        run, (["narrow", "ascii"], ["score", str(run)]), (["whole"], ["score", str(run)])
    )
    assert narrow[1].isascii()
    assert "+--" in narrow[1]
    assert max(map(len, narrow[1].splitlines())) <= 40
    assert not whole[1].isascii()


@pytest.mark.slow
def test_a_deleted_folder_is_one_sentence(run: Path) -> None:
    lines = ("", "run", "ask a.png what", "adapters", "tasks", f"score {run}", "runs", "doctor")
    for code, _, err in attempts(run, *((["deleted"], line.split()) for line in lines)):
        assert (code, err.count("\n")) == (1, 1)
        assert "Change to another one" in err
