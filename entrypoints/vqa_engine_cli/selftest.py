"""`vqa-engine selftest`: do the default models work here? One table, one file for an issue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from vqa_engine.plugins.spec import AdapterSpec
    from vqa_engine.selftest import SelfTest, Tried

_EXIT_FAILED = 1


@click.command(cls=Command, short_help="Ask each default model questions with known answers.")
@click.option(
    "--adapter",
    "-a",
    "adapters",
    multiple=True,
    metavar="NAME[@MODEL]",
    help="Adapter to try; repeatable.  [default: each whose checkpoint is on this machine]",
)
@click.option(
    "--download", is_flag=True, help="Fetch the default checkpoints that are not here yet."
)
@click.option(
    "--trust-remote-code", is_flag=True, help="Allow code that comes with a checkpoint to run."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("vqa-engine-selftest.json"),
    show_default=True,
    help="File with everything that was found, to attach to an issue.",
)
def selftest(
    adapters: tuple[str, ...], download: bool, trust_remote_code: bool, output: Path
) -> None:
    """Ask each default model a dozen questions with known answers, and report what came of it.

    The pictures are drawn shapes and printed text. Exit code 1 if a model cannot run.

    \b
    Example:
      vqa-engine selftest --download
    """
    from vqa_engine import selftest as test
    from vqa_engine_cli.display import observer

    specs, left = _named(adapters, trust_remote_code), dict[str, str]()
    if not specs:
        specs, left = test.choose(test.offered(), download=download)
    tried = []
    for spec in specs:
        echo(f"{spec.label}: asking 12 questions", err=True)
        tried.append(test.run(spec, observer(quiet=True)))
    found = test.SelfTest(machine=test.machine(), tried=tuple(tried), left_out=left)
    try:
        _write(found, output)
    finally:
        _show(found)
    _conclude(found, output)
    sys.exit(_EXIT_FAILED if any(one.error for one in tried) or not tried else 0)


def _named(adapters: tuple[str, ...], trust_remote_code: bool) -> list[AdapterSpec]:
    from attrs import evolve

    from vqa_engine.plugins.spec import AdapterSpec

    specs = (AdapterSpec.parse(text) for text in adapters)
    return [
        evolve(spec, model=evolve(spec.model, trust_remote_code=trust_remote_code))
        for spec in specs
    ]


def _show(found: SelfTest) -> None:
    """A table of what ran, then what went wrong, and what was left out and why."""
    from vqa_engine.console import PlainConsole

    console = PlainConsole()
    if ran := [one for one in found.tried if not one.error]:
        console.print(_table(ran))
    for one in found.tried:
        if one.error:
            echo(f"{one.adapter} cannot run: {one.error}")
        for asked in one.asked:
            if not asked.right:
                said = asked.error or repr(asked.said)
                expected = " or ".join(asked.expected)
                echo(f"{one.adapter}: {asked.question} It said {said}, not {expected}")
    for reason in dict.fromkeys(found.left_out.values()):
        names = ", ".join(name for name, why in found.left_out.items() if why == reason)
        echo(f"Left out: {names} ({reason})")


def _table(ran: Sequence[Tried]) -> Table:
    from rich.table import Table

    from vqa_engine.memory.budget import shown

    table = Table()
    table.add_column("adapter", overflow="fold")
    for title in ("right", "load", "speed", "weights", "peak", "device"):
        table.add_column(title, justify="right")
    for one in ran:
        table.add_row(
            one.adapter,
            f"{one.right} of {len(one.asked)}",
            "" if one.load_seconds is None else f"{one.load_seconds:.1f} s",
            f"{one.rate:.1f}/s" if one.rate else "",
            shown(one.weights) if one.weights else "",
            shown(one.peak) if one.peak else "",
            " ".join(part for part in (one.backend, one.device) if part),
        )
    return table


def _write(found: SelfTest, output: Path) -> None:
    import msgspec

    from vqa_engine.files import replace

    data = msgspec.json.format(msgspec.json.encode(found), indent=2)
    replace(output, [data])


def _conclude(found: SelfTest, output: Path) -> None:
    versions = ", ".join(f"{name} {one}" for name, one in found.machine.libraries.items())
    echo(f"vqa-engine {found.machine.vqa_engine}, {found.machine.system}; {versions}")
    if not found.tried:
        echo("No model was tried: name one with --adapter, or give --download.")
    echo(f"Everything is in {output}: attach it to an issue if something is wrong.")
