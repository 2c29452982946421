"""What nobody foresaw: a file with its traceback, and one sentence about it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import click

_DIRECTORY = "vqa_engine.run_directory"


def remember(ctx: click.Context, directory: Path) -> None:
    """Note the run directory of this command, for a traceback."""
    ctx.meta[_DIRECTORY] = [directory]


def remember_paths(ctx: click.Context) -> None:
    """Note every path that a command was given: some are run directories."""
    values = (each for value in ctx.params.values() for each in _listed(value))
    ctx.meta[_DIRECTORY] = [one for one in values if isinstance(one, Path)]


def unforeseen(ctx: click.Context | None, error: BaseException) -> Exception:
    """The error to show: its file is among the logs of the command's run, where it has one."""
    text = "".join(traceback.format_exception(error))
    for folder in (*(_logs(ctx) if ctx else ()), *_temporary()):
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, prefix="vqa-engine-", suffix=".txt", delete=False, errors="replace"
            ) as file:
                file.write(text)
        except OSError:  # a full disk, or somebody else's run
            continue
        return _bug(error, f"the file {file.name}")
    return _bug(error, "the output of the same command with --log-level debug")


def _bug(error: BaseException, what: str) -> Exception:
    name = type(error).__name__
    return RuntimeError(f"vqa-engine failed with {name}, which is a bug. Report it with {what}")


def _temporary() -> Iterator[Path]:
    try:
        yield Path(tempfile.gettempdir())
    except OSError:  # there is none that can be written to
        return


def _logs(ctx: click.Context) -> Iterator[Path]:
    """The folder for logs of each run that the command is about."""
    from vqa_engine.runs.journal import FILE

    for directory in ctx.meta.get(_DIRECTORY, ()):
        logs = directory / "logs"
        try:
            if (directory / FILE).is_file() and not logs.is_symlink():
                logs.mkdir(exist_ok=True)
                yield logs
        except (OSError, ValueError):
            continue


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
