"""`vqa-engine export`: a run's answers for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.counting import counted
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import FOLDER, options

if TYPE_CHECKING:
    from vqa_engine.runs.journal import Journal


@click.command(cls=Command, short_help="Write the answers of a run for other programs.")
@click.argument("run", type=FOLDER)
@options(
    click.option(
        "--format",
        "form",
        type=click.Choice(["jsonl", "vqa-v2"]),
        default="jsonl",
        show_default=True,
        help="One JSON object a line with all details, or the official VQA v2 result file.",
    ),
    click.option(
        "--adapter", help="Only this adapter's answers; vqa-v2 needs it if there are several."
    ),
    click.option(
        "--errors-as-empty",
        is_flag=True,
        help="vqa-v2: write an empty answer for a question without one, not leave it out.",
    ),
    click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File to write.  [default: stdout]",
    ),
)
def export(
    run: Path, form: str, adapter: str | None, errors_as_empty: bool, output: Path | None
) -> None:
    """Write the answers of RUN, a run directory.

    \b
    Example:
      vqa-engine export runs/kettles --format vqa-v2 -o results.json
    """
    from vqa_engine.runs import export as exporter
    from vqa_engine.runs.directory import open_journal

    journal = open_journal(run)
    try:
        label = _label(journal, adapter, several_allowed=form == "jsonl")
        rows = journal.rows(label)
        if form == "jsonl":
            pieces = exporter.json_lines(rows)
        else:
            pieces = exporter.vqa_v2_results(rows, errors_as_empty=errors_as_empty)
            _warn(journal, label, errors_as_empty)
        _write(pieces, output)
    finally:
        journal.close()


def _label(journal: Journal, wanted: str | None, *, several_allowed: bool) -> str | None:
    from vqa_engine.errors import ConfigurationError

    known = journal.labels(wanted)
    if wanted is None and not several_allowed and len(known) > 1:
        raise ConfigurationError(
            f"A VQA v2 result file holds one adapter's answers; choose it with --adapter: "
            f"{', '.join(known)}."
        )
    return wanted


def _warn(journal: Journal, label: str | None, errors_as_empty: bool) -> None:
    failed = sum(journal.tally(name).failed for name in journal.labels(label))
    if failed:
        done = "written as empty answers" if errors_as_empty else "left out"
        have = "has" if failed == 1 else "have"
        click.echo(f"{counted(failed, 'question')} {have} no answer ({done}).", err=True)


def _write(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write to stdout, into what is no file, or over a file all at once."""
    if output is None:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
        return
    try:
        target = output.resolve()
        if target.exists() and not target.is_file():
            with target.open("wb") as stream:  # a device or a pipe must never be replaced
                stream.writelines(pieces)
        else:
            _replace(target, pieces)
    except OSError as error:
        from vqa_engine.errors import ConfigurationError

        raise ConfigurationError(f"{output} cannot be written: {error}.") from error


def _replace(target: Path, pieces: Iterable[bytes]) -> None:
    """Write beside the file and rename, so that an old export is replaced whole."""
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as stream:
        stream.writelines(pieces)
    part.replace(target)
