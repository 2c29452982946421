"""`vqa-engine memory`: what memory did in a run."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import RUN, options, salvage_option
from vqa_engine_cli.terminal import echo


@click.command(cls=Command, short_help="Show what memory did in a run.")
@click.argument("run", type=RUN)
@options(
    click.option("--adapter", help="Only this adapter.  [default: all]"),
    click.option("--summary", is_flag=True, help="Print only the summary."),
    salvage_option,
)
def memory(run: Path, adapter: str | None, summary: bool, salvage: bool) -> None:
    """Print how memory was used in RUN, a run directory.

    First a timeline with a line for each action: time, question, strategy, call, bytes
    freed, milliseconds. Then a summary: peak, floor, predicted and true need, actions,
    leaks.
    """
    from vqa_engine.runs.opening import opened
    from vqa_engine.runs.timeline import summarise, summary_lines, timeline

    with opened([run], salvage=salvage) as (found,):
        journal = found.journal
        for label in journal.labels(adapter):
            echo(f"{label}:")
            for line in () if summary else timeline(journal.events(label)):
                echo(f"  {line}")
            figures = summarise(journal.rows(label), journal.events(label))
            for line in summary_lines(figures):
                echo(f"  {line}")
