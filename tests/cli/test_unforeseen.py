"""What nobody foresaw is one sentence, and a file with the traceback."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_apart import leaves
from tests.cli.test_cli import Shell, shell, site
from vqa_engine_cli.main import cli

__all__ = ["shell", "site"]

TALLY = """
import vqa_engine.runs.account as account
def tally(self): raise ZeroDivisionError("by zero")
account.Account.tally = tally
"""


class Beyond(BaseException):
    """Is no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), Beyond("by zero")])
def test_it_is_one_sentence_and_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    def fails(**_given: object) -> None:
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cli.commands["fit"], "callback", fails)
    done = invoke("fit")
    (file,) = tmp_path.glob("vqa-engine-*.txt")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: vqa-engine failed with {type(error).__name__}")
    assert str(file) in done.stderr
    assert "by zero" in file.read_text()


@pytest.mark.parametrize("words", [["score", "x"], ["--json"], ["--log-level", "info"]])
def test_so_is_what_happens_before_the_command_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    def fails(*_given: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("vqa_engine_cli.main.DefaultGroup.parse_args", fails)
    done = invoke(*words)
    (file,) = tmp_path.glob("vqa-engine-*.txt")
    assert done.exit_code == 1
    assert str(file) in (done.stdout if "--json" in words else done.stderr)
    assert done.output.count("\n") == 1


def test_a_full_disk_before_the_command_begins_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("vqa_engine_cli.main.DefaultGroup.parse_args", fails)
    done = invoke("score")
    assert (done.exit_code, "Make room" in done.stderr) == (1, True)


def test_without_a_temporary_folder_it_is_one_sentence_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)

    def bug(**_given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.commands["fit"], "callback", bug)
    assert "--log-level debug" in invoke("fit").stderr
    monkeypatch.setattr(cli.commands["fit"], "callback", lambda **_given: tempfile.gettempdir())
    done = invoke("fit")
    assert (done.exit_code, done.stderr.count("\n"), "TMPDIR" in done.stderr) == (1, 1, True)


def with_bug(shell: Shell, source: str) -> Path:
    """Have each of its processes begin with this; the folder for what has no other place."""
    folder = shell.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(source)
    path = shell.environment["PYTHONPATH"]
    shell.environment |= {"PYTHONPATH": f"{folder}:{path}", "TMPDIR": str(folder)}
    return folder


@pytest.mark.slow
def test_the_file_is_among_the_logs_of_the_run(shell: Shell) -> None:
    with_bug(shell, TALLY)
    _, err = shell("-a", "instant", "--questions", shell.jsonl(2), code=1)
    (file,) = shell.folder.glob("runs/*/logs/vqa-engine-*.txt")
    assert str(file.relative_to(shell.folder)) in err
    assert "Traceback" not in err
    assert "ZeroDivisionError: by zero" in file.read_text()


@pytest.mark.slow
def test_nothing_is_written_through_a_link_in_a_run(shell: Shell) -> None:
    shell("-a", "instant", "--questions", shell.jsonl(2), "-o", "r")
    (shell.folder / "r" / "logs").rename(shell.folder / "elsewhere")
    (shell.folder / "r" / "logs").symlink_to("../elsewhere")
    folder = with_bug(shell, "import vqa_engine.runs.rescoring as r\nr.score_runs = None\n")
    _, err = shell("score", "r", code=1)
    assert not list(shell.folder.glob("elsewhere/vqa-engine-*"))
    assert str(folder / "vqa-engine-") in err


@pytest.mark.parametrize("command", sorted(leaves(cli)))
def test_the_help_of_a_command_is_no_error(command: str) -> None:
    done = invoke(*command.split(), "--help")
    assert (done.exit_code, done.stderr) == (0, "")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)
