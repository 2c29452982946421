"""`vqa-engine score`: scores of a VQA v2 result file, or of a run, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vqa_engine_cli.building import question_set
from vqa_engine_cli.finite import Integer
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import (
    format_option,
    json_option,
    metric_option,
    options,
    question_options,
    salvage_option,
)


@click.command(cls=Command, short_help="Score a run, or a VQA v2 result file.")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@options(
    question_options,
    click.option(
        "--seed", type=Integer(), default=0, show_default=True, help="Random seed of --sample."
    ),
    click.option(
        "--partial", is_flag=True, help="Score the answers there are if some are missing."
    ),
    salvage_option,
    metric_option,
    format_option,
    json_option,
)
@click.pass_context
def score(  # noqa: PLR0913, PLR0917  one for each option
    ctx: click.Context,
    /,
    results: tuple[Path, ...],
    partial: bool,
    salvage: bool,
    metrics: tuple[str, ...],
    form: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Score RESULTS: run directories, or a VQA v2 result file of the questions in --questions.

    Several runs over the same questions make one table.

    \b
    Examples:
      vqa-engine score runs/kettles
      vqa-engine score runs/monday runs/tuesday --format latex
      vqa-engine score --questions q.json --annotations a.json results.json
    """
    runs = [path for path in results if path.is_dir()]
    if runs:
        _refuse(ctx, {*given, "partial"})
    if len(results) > max(1, len(runs)):
        raise click.UsageError("Give run directories, or one result file.")
    from vqa_engine.runs.rescoring import Rescored, score_runs
    from vqa_engine.scoring import score_results
    from vqa_engine_cli.display import show_formatted, show_scores, show_scores_json

    if runs:
        rescored = score_runs(runs, metrics, salvage=salvage)
    else:
        (file,) = results
        scored, why = score_results(question_set(given), file, metrics, partial=partial)
        rescored = Rescored({file.name: scored}, why)
    if as_json:
        show_scores_json(rescored.scores)
    elif form != "table":
        show_formatted(rescored.scores, form)
    else:
        show_scores(rescored)


def _refuse(ctx: click.Context, names: set[str]) -> None:
    """Refuse options that choose questions: a run directory has its own.

    Those that a TOML file sets, for other commands as well, do no harm.
    """
    given = [
        option.opts[0]
        for option in ctx.command.params
        if option.name in names
        and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        apply = "applies" if len(given) == 1 else "apply"
        raise click.UsageError(
            f"{', '.join(given)} {apply} to a result file only; a run directory has its questions."
        )
