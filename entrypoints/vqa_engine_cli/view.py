"""`vqa-engine view`: the report in a browser, with every picture and with new rows."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_engine_cli.finite import Whole
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import FOLDER, RUN, metric_option, options, salvage_option
from vqa_engine_cli.terminal import echo


@click.command(cls=Command, short_help="Show one run or several in the browser, also live.")
@click.argument("runs", type=RUN, nargs=-1, required=True)
@options(
    click.option(
        "--port",
        type=Whole(0, 65535),
        default=0,
        show_default="a free one",
        help="Port on 127.0.0.1.",
    ),
    click.option("--open", "opening", is_flag=True, help="Open the page in a browser."),
    click.option(
        "--images",
        "folders",
        type=FOLDER,
        multiple=True,
        help="Folder that pictures may be shown from, beside the current folder and RUNS; "
        "repeatable.",
    ),
    metric_option,
    salvage_option,
)
def view(  # noqa: PLR0913, PLR0917  one for each option
    runs: tuple[Path, ...],
    port: int,
    opening: bool,
    folders: tuple[Path, ...],
    metrics: tuple[str, ...],
    salvage: bool,
) -> None:
    """Show RUNS, one run directory or several, on 127.0.0.1, also while they are going on.

    The page is that of `vqa-engine report`, with every picture; new rows appear by
    themselves. Needs the extra `serve`. Ctrl-C stops it.
    """
    from vqa_engine.reporting.view import Server, Viewer

    viewer = Viewer(runs, metrics, (Path.cwd(), *folders), salvage=salvage)
    server = Server(viewer, port)
    with viewer:
        echo(f"Viewer: {server.address}  (Ctrl-C to stop)")
        if folder := viewer.unseen_folder():
            outside = "Pictures are outside the folders that may be shown"
            echo(f"{outside}. To show them, add --images {folder}", err=True)
        if opening:
            click.launch(server.address)
        try:
            server.run()
        except KeyboardInterrupt:
            echo()
