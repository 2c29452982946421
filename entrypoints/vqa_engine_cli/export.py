"""`vqa-engine export`: a run's answers for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.counting import counted
from vqa_engine_cli.options import FOLDER, options

if TYPE_CHECKING:
    from vqa_engine.runs.journal import Journal


@click.command()
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
        "--submission",
        metavar="SERVER",
        help="File for the server of a hidden test set instead, checked for completeness: aokvqa, "
        "docvqa, gqa, mmbench, mmmu, seedbench, textvqa, vizwiz or vqav2.",
    ),
    click.option(
        "--adapter",
        help="Only this adapter's answers; vqa-v2 and --submission need it if there are several.",
    ),
    click.option(
        "--errors-as-empty",
        is_flag=True,
        help="vqa-v2, --submission: write an empty answer for a question without one.",
    ),
    click.option(
        "--normalised",
        is_flag=True,
        help="vqa-v2: write answers as the evaluation normalises them, as published submissions "
        "do.",
    ),
    click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File to write.  [default: stdout]",
    ),
)
def export(
    *,
    run: Path,
    form: str,
    submission: str | None,
    adapter: str | None,
    output: Path | None,
    **how: bool,
) -> None:
    """Write the answers of RUN, a run directory.

    \b
    Examples:
      vqa-engine export runs/kettles --format vqa-v2 -o results.json
      vqa-engine export runs/textvqa-test --submission textvqa -o submission.json
    """
    from vqa_engine.runs import export as exporter
    from vqa_engine.runs import submissions
    from vqa_engine.runs.directory import open_journal

    journal = open_journal(run)
    try:
        several_allowed = form == "jsonl" and submission is None
        label = _label(journal, adapter, several_allowed=several_allowed)
        rows = journal.rows(label)
        pieces: Iterable[bytes]
        if submission is not None:
            wanted = submissions.submission(submission)
            pieces = submissions.submitted(wanted, rows, errors_as_empty=how["errors_as_empty"])
        elif form == "jsonl":
            pieces = exporter.json_lines(rows)
        else:
            empty, normalise = how["errors_as_empty"], how["normalised"]
            pieces = exporter.vqa_v2_results(rows, errors_as_empty=empty, normalise=normalise)
            _warn(journal, label, empty)
        _write(pieces, output)
    finally:
        journal.close()


def _label(journal: Journal, wanted: str | None, *, several_allowed: bool) -> str | None:
    from vqa_engine.errors import ConfigurationError

    known = journal.labels(wanted)
    if wanted is None and not several_allowed and len(known) > 1:
        raise ConfigurationError(
            f"Such a file holds one adapter's answers; choose it with --adapter: "
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
    """Write beside the target and rename, so that an old export is replaced whole."""
    if output is None:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as stream:
            stream.writelines(pieces)
        part.replace(output)
    except OSError as error:
        from vqa_engine.errors import ConfigurationError

        raise ConfigurationError(f"{output} cannot be written: {error}.") from error
