"""`vqa-engine export`: a run's answers for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.counting import counted
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import RUN, metric_option, only_options, options, salvage_option
from vqa_engine_cli.terminal import echo, write

if TYPE_CHECKING:
    from vqa_engine.runs.journal import Journal
    from vqa_engine.runs.reading import Graded, Only
    from vqa_engine.scoring import Metric


@click.command(cls=Command, short_help="Write the answers of a run for other programs.")
@click.argument("run", type=RUN)
@options(
    click.option(
        "--format",
        "form",
        type=click.Choice(["jsonl", "csv", "vqa-v2"]),
        help="One JSON object a line with all details, a spreadsheet, or the official VQA v2 "
        "result file.  [default: csv into a .csv file, else jsonl]",
    ),
    only_options,
    metric_option,
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
    salvage_option,
)
def export(  # noqa: PLR0913  one for each option
    *,
    run: Path,
    form: str | None,
    only: frozenset[Only],
    metrics: tuple[str, ...],
    submission: str | None,
    adapter: str | None,
    output: Path | None,
    salvage: bool,
    **how: bool,
) -> None:
    """Write the answers of RUN, a run directory.

    \b
    Examples:
      vqa-engine export runs/kettles --format vqa-v2 -o results.json
      vqa-engine export runs/kettles --wrong -o wrong.csv
      vqa-engine export runs/textvqa-test --submission textvqa -o submission.json
    """
    from vqa_engine.runs import export as exporter
    from vqa_engine.runs import submissions
    from vqa_engine.runs.opening import opened
    from vqa_engine.runs.rescoring import chosen_metrics

    form = form or _form(output)
    with opened([run], salvage=salvage) as (found,):
        journal = found.journal
        whole = submission is not None or form == "vqa-v2"
        label = _label(journal, adapter, several_allowed=not whole)
        pieces: Iterable[bytes]
        if whole:
            if only or metrics:
                raise click.UsageError("Such a file has all answers and no scores.")
            rows = journal.rows(label)
            empty = how["errors_as_empty"]
            if submission is not None:
                wanted = submissions.submission(submission)
                pieces = submissions.submitted(wanted, rows, errors_as_empty=empty)
            else:
                normalise = how["normalised"]
                pieces = exporter.vqa_v2_results(rows, errors_as_empty=empty, normalise=normalise)
                _warn(journal, label, empty)
        else:
            chosen, _ = chosen_metrics(found, metrics)
            graded = _rows(journal, label, chosen, only)
            names = [one.name for one in chosen]
            pieces = (
                exporter.json_lines(graded)
                if form == "jsonl"
                else exporter.comma_separated(graded, names)
            )
        _write(pieces, output)


def _form(output: Path | None) -> str:
    """What a file's name says about its format."""
    ending = output.suffix.lower() if output else ""
    if ending in (".xlsx", ".xls", ".ods"):
        raise click.UsageError(f"{output} cannot be written; spreadsheets open a .csv file.")
    return "csv" if ending == ".csv" else "jsonl"


def _rows(
    journal: Journal, label: str | None, metrics: Sequence[Metric], only: frozenset[Only]
) -> Iterable[Graded]:
    """Adapter by adapter as they were asked; what differs, question by question."""
    from vqa_engine.runs.reading import by_question, graded

    if only:
        groups = by_question(journal, journal.labels(label), metrics, only)
        return chain.from_iterable(groups)
    return graded(journal.rows(label), metrics)


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
        echo(f"{counted(failed, 'question')} {have} no answer ({done}).", err=True)


def _write(pieces: Iterable[bytes], output: Path | None) -> None:
    """Write to stdout or into a pipe or device, or replace a file as a whole."""
    from vqa_engine.files import replace

    if output is None:
        write(pieces)
    else:
        replace(output, pieces)
