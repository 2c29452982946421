"""`vqa-engine compare`: whether one model is better than another, by their runs."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import RUN, json_option, options, salvage_option


@click.command(cls=Command, short_help="Compare two runs, or two adapters of one, with a test.")
@click.argument("first", metavar="RUN_A", type=RUN)
@click.argument("second", metavar="[RUN_B]", type=RUN, required=False)
@options(
    click.option(
        "--adapter",
        "-a",
        "adapters",
        multiple=True,
        metavar="LABEL",
        help="Adapter of a run that has several; the first is for RUN_A, the second for RUN_B.",
    ),
    click.option("--metric", help="Metric.  [default: by what the questions have]"),
    click.option(
        "--anyway",
        is_flag=True,
        help="Compare runs whose questions or prompts differ, over the questions both have.",
    ),
    salvage_option,
    json_option,
)
def compare(  # noqa: PLR0913  options, by keyword only
    *,
    first: Path,
    second: Path | None,
    adapters: tuple[str, ...],
    metric: str | None,
    anyway: bool,
    salvage: bool,
    as_json: bool,
) -> None:
    """Compare RUN_B with RUN_A, question by question, or two adapters of one run.

    \b
    Examples:
      vqa-engine compare runs/before runs/after
      vqa-engine compare runs/both -a smolvlm -a llava_mlx
    """
    from vqa_engine.runs.comparing import Side, compare_runs
    from vqa_engine_cli.display import show_comparison

    if len(adapters) > 2:
        raise click.UsageError("--adapter can be given twice at most.")
    if second is None and len(adapters) < 2:
        raise click.UsageError("Give a second run, or two adapters of this one with --adapter.")
    labels = (adapters[0], adapters[-1]) if adapters else (None, None)
    sides = Side(first, labels[0]), Side(second or first, labels[1])
    found = compare_runs(*sides, metric, anyway=anyway, salvage=salvage)
    show_comparison(found, as_json=as_json)
