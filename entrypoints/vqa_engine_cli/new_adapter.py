"""`vqa-engine new-adapter`: a package with a new adapter, to fill in."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import options
from vqa_engine_cli.terminal import echo


@click.command(
    "new-adapter", cls=Command, short_help="Write a package with a new adapter, to fill in."
)
@click.argument("name")
@options(
    click.option(
        "--output",
        "-o",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the package.  [default: vqa-engine-NAME in the current folder]",
    ),
)
def new_adapter(name: str, output: Path | None) -> None:
    """Write a package with one adapter, its entry point, its tests and its CI.

    \b
    Example:
      vqa-engine new-adapter colour-average
    """
    from vqa_engine.scaffold import Names
    from vqa_engine.scaffold import new_adapter as write

    folder = write(name, output)
    adapter = Names.of(name).adapter
    echo(f"Wrote {folder}. Next:")
    for line in (
        f"pip install --editable '{folder}[test]'",
        "vqa-engine adapters",
        f"vqa-engine --adapter {adapter} --limit 5",
        f"pytest {folder}",
    ):
        echo(f"  {line}")
