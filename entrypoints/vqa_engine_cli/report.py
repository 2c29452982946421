"""`vqa-engine report`: runs as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import FOLDER, RUN, metric_option, options, salvage_option
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from vqa_engine.reporting import Pictures


@click.command(cls=Command, short_help="Write one run or several as one HTML file.")
@click.argument("runs", type=RUN, nargs=-1, required=True)
@options(
    click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File to write.  [default: report.html in the first run]",
    ),
    click.option(
        "--pictures",
        type=click.Choice(["beside", "embed", "none"]),
        default="beside",
        show_default=True,
        help="Load pictures from where they are, keep small copies of a few hundred in the "
        "file, or show none.",
    ),
    click.option(
        "--images",
        "folders",
        type=FOLDER,
        multiple=True,
        help="embed: folder that pictures may be copied from; repeatable.  "
        "[default: the current folder]",
    ),
    metric_option,
    salvage_option,
)
def report(  # noqa: PLR0913, PLR0917  one for each option
    runs: tuple[Path, ...],
    output: Path | None,
    pictures: str,
    folders: tuple[Path, ...],
    metrics: tuple[str, ...],
    salvage: bool,
) -> None:
    """Write RUNS, one run directory or several to compare, as one HTML file.

    The file needs no server and no network: accuracies, comparison, memory and speed, and
    every row with its filters.

    \b
    Examples:
      vqa-engine report runs/kettles
      vqa-engine report runs/kettles runs/cups -o comparison.html --pictures embed
    """
    from vqa_engine import reporting

    page = output or _own(runs[0] / reporting.FILE)
    with reporting.opened(runs, salvage=salvage) as found:
        reporting.write(
            found,
            page,
            metrics=metrics,
            pictures=cast("Pictures", pictures),
            folders=folders or (Path.cwd(),),
        )
    echo(f"Report: {page}")


def _own(page: Path) -> Path:
    """The page in a run, where nobody has put a link or a pipe: a run may be a stranger's."""
    if page.is_symlink() or (page.exists() and not page.is_file()):
        raise click.ClickException(
            f"{page} is not a file that vqa-engine made. Remove it, or name a file with --output."
        )
    return page
