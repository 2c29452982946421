"""`vqa-engine runs`: the runs under a folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import json_option, options
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from vqa_engine.reporting.watching import Progress, Watched

DEFAULT = Path("runs")


@click.command(cls=Command, short_help="List the runs under a folder, the latest first.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT)
@options(
    click.option("--metric", help="Metric of the score.  [default: by what the questions have]"),
    click.option("--no-score", is_flag=True, help="Leave the score out, which is quicker."),
    click.option("--prune", is_flag=True, help="Remove the runs without a single row instead."),
    click.option("--yes", is_flag=True, help="With --prune: do not ask first."),
    json_option,
)
def runs(  # noqa: PLR0913, PLR0917  one for each option
    folder: Path, metric: str | None, no_score: bool, prune: bool, yes: bool, as_json: bool
) -> None:
    """List the runs under FOLDER (default: runs), the latest first.

    For each run it shows the state (running, finished, unfinished) and, for each adapter,
    the progress, the accuracy and the number of questions without an answer.
    """
    from vqa_engine.errors import RunError
    from vqa_engine.reporting.watching import found, look

    if not folder.exists():
        if folder != DEFAULT:
            raise click.BadParameter(f"There is no folder {str(folder)!r}.", param_hint="FOLDER")
        if not as_json:
            echo("There are no runs here yet; vqa-engine --questions FILE makes one.")
        return
    if prune:
        _prune(folder, yes)
        return
    wanted = None if no_score else ((metric,) if metric else ())
    directories = found(folder)
    if not directories and not as_json:
        echo(f"There are no runs under {folder}.")
    for directory in directories:
        try:
            watched = look(directory, wanted)
        except RunError as error:  # one that cannot be read hides no other
            echo(f"{directory}: {error}", err=True)
            continue
        _show_json(watched) if as_json else _show(watched)


def _prune(folder: Path, yes: bool) -> None:
    from vqa_engine.errors import RunError
    from vqa_engine.reporting.watching import found
    from vqa_engine.runs.directory import is_empty, remove

    directories, empty = found(folder), 0
    for directory in directories:
        try:
            wanted = is_empty(directory)
            empty += wanted
            if wanted and (yes or click.confirm(f"Remove {directory}, which has no row?")):
                gone = remove(directory)
                echo(
                    f"Removed {directory}, which had no row."
                    if gone
                    else f"{directory} is in use, so it stays."
                )
        except RunError as error:
            echo(f"{directory}: {error}", err=True)
    if not empty:
        echo(f"Every run under {folder} has rows; there is nothing to remove.")


def _show(watched: Watched) -> None:
    echo(f"{watched.directory}  {watched.state}, question set {watched.question_set}")
    for one in watched.adapters:
        echo(f"    {one.label}: {', '.join(filter(None, _facts(one)))}")


def _facts(one: Progress) -> tuple[str, ...]:
    tally = one.tally
    scored = one.score is not None and not math.isnan(one.score.percent)
    return (
        f"{tally.done:,}/{tally.total:,}",
        f"accuracy {one.score.percent:.1f} %" if one.score is not None and scored else "",
        f"{tally.failed:,} without an answer" if tally.failed else "",
        f"{tally.degraded:,} degraded" if tally.degraded else "",
    )


def _show_json(watched: Watched) -> None:
    import msgspec

    echo(msgspec.json.encode(watched, enc_hook=str).decode())
