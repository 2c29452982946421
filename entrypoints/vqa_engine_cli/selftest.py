"""`vqa-engine selftest`: do the default models work here? One table, one file for an issue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.help import Command

if TYPE_CHECKING:
    from vqa_engine.plugins.spec import AdapterSpec
    from vqa_engine.selftest import SelfTest, Tried

EXIT_FAILED = 1


@click.command(cls=Command)
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
    for one in test.run(specs, observer(quiet=True)):
        tried.append(one)
        click.echo(_line(one))
    found = test.SelfTest(machine=test.machine(), tried=tuple(tried), left_out=left)
    for name, reason in left.items():
        click.echo(f"{name}: left out: {reason}")
    _write(found, output)
    sys.exit(EXIT_FAILED if any(one.error for one in tried) or not tried else 0)


def _named(adapters: tuple[str, ...], trust_remote_code: bool) -> list[AdapterSpec]:
    from attrs import evolve

    from vqa_engine.plugins.spec import AdapterSpec

    specs = (AdapterSpec.parse(text) for text in adapters)
    return [
        evolve(spec, model=evolve(spec.model, trust_remote_code=trust_remote_code))
        for spec in specs
    ]


def _line(one: Tried) -> str:
    """One adapter's result in a line."""
    from vqa_engine.memory.budget import shown

    if one.error:
        return f"{one.adapter}: cannot run: {one.error}"
    device = " ".join(part for part in (one.backend, one.device) if part)
    weights = f", weights {shown(one.weights)}" if one.weights else ""
    peak = f", peak {shown(one.peak)}" if one.peak else ""
    rate = f", {one.rate:.1f} questions/s" if one.rate else ""
    loaded = f"loaded in {one.load_seconds:.1f} s" if one.load_seconds is not None else ""
    return (
        f"{one.adapter}: {one.right} of {len(one.asked)} right, {loaded}{rate}{weights}{peak} "
        f"({device})"
    )


def _write(found: SelfTest, output: Path) -> None:
    import msgspec

    data = msgspec.json.format(msgspec.json.encode(found), indent=2)
    output.write_bytes(data)
    versions = ", ".join(f"{name} {one}" for name, one in found.machine.libraries.items())
    click.echo(f"vqa-engine {found.machine.vqa_engine}, {found.machine.system}; {versions}")
    click.echo(f"Everything is in {output}: attach it to an issue if something is wrong.")
