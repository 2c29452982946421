"""`vqa-engine adapters`: every plugin, healthy or broken, with the reason."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.finite import FiniteRange
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import json_option, options
from vqa_engine_cli.terminal import echo, style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vqa_engine.plugins.probe import PluginReport
    from vqa_engine.worker.description import Description

HEADINGS = ("adapter", "state", "package", "backend", "default checkpoint")
COLOURS = {"healthy": "green"}
_GAP = 2

timeout_option = click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Time limit in seconds for importing one plugin.",
)


@click.command(cls=Command, short_help="List the installed adapters, and how to mend a broken one.")
@click.argument("name", required=False)
@options(timeout_option, json_option)
def adapters(name: str | None, timeout: float, as_json: bool) -> None:
    """List every installed adapter: its state, its package, and how to mend a broken one.

    Each is imported in a process of its own, so one that hangs or crashes harms no other.
    With NAME, describe that one: its options and their defaults, what it needs, its licence,
    and its checkpoints on this machine.
    """
    if name is not None:
        _describe(name, as_json)
        return
    from vqa_engine.plugins.probe import report

    found = report(longest=timeout)
    if as_json:
        _show_json(found)
    else:
        show(found)


def _describe(name: str, as_json: bool) -> None:
    from vqa_engine.worker.apart import described

    one = described(name)
    if as_json:
        import msgspec

        echo(msgspec.json.encode(one, enc_hook=repr).decode())
        return
    for line in _facts(one):
        echo(line)


def _facts(one: Description) -> Iterator[str]:
    from vqa_engine.memory.budget import shown

    yield style(f"{one.name}: {one.about}", bold=True)
    yield f"package             {one.source}, licence {one.licence}"
    yield f"default checkpoint  {one.model or 'none; name one with --model'}"
    yield f"backend             {one.profile.backend}"
    most = "the checkpoint decides" if one.images is None else one.images
    yield f"images per question {most}"
    yield f"weights             {shown(one.profile.weights)} (vqa-engine fit says more)"
    if one.cached is not None:
        yield f"in the hub cache    {', '.join(one.cached) or 'none'}"
    yield ""
    if not one.options:
        yield "It names no options."
        return
    yield "Options, each as --adapter-option NAME=VALUE:"
    for option in one.options:
        yield f"  {option.name:<22}{option.type}  [default: {_default(option.default)}]"
    for paragraph in one.notes.split("\n\n"):
        yield ""
        yield textwrap.fill(" ".join(paragraph.split()), shutil.get_terminal_size().columns)


def _default(value: object) -> str:
    """A default as it would be typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else str(value) or "''"


def show(found: Sequence[PluginReport]) -> None:
    """A row for each adapter; below a broken one what is wrong and what to do."""
    rows = [_cells(one) for one in found]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    room = shutil.get_terminal_size().columns
    echo(style(_line(HEADINGS, widths), bold=True))
    for one, row in zip(found, rows, strict=True):
        _row(one, row, widths, room)


def _cells(one: PluginReport) -> tuple[str, ...]:
    return one.name, one.state, one.source, one.backend or "", one.model or ""


def _row(one: PluginReport, row: Sequence[str], widths: Sequence[int], room: int) -> None:
    indent = " " * (widths[0] + _GAP)
    whole = _line(row, widths)
    crowded = len(whole) > room
    colour = COLOURS.get(one.state, "red")
    echo(style(_line(row[:-1], widths) if crowded else whole, fg=colour))
    if crowded:
        echo(f"{indent}{row[-1]}")
    for text in filter(None, (one.reason, one.remedy)):
        mark = "→ " if text == one.remedy else ""
        echo(textwrap.fill(f"{mark}{text}", room, initial_indent=indent, subsequent_indent=indent))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width + _GAP) for cell, width in zip(cells, widths, strict=False))
    return "".join(padded).rstrip()


def _show_json(found: Sequence[PluginReport]) -> None:
    import msgspec

    echo(msgspec.json.encode([record(one) for one in found]).decode())


def record(one: PluginReport) -> dict[str, object]:
    """A plugin as plain data, null for what is not known."""
    names = (
        *("name", "state", "distribution", "version", "target"),
        *("backend", "weights", "model", "reason", "remedy"),
    )
    return {name: getattr(one, name) or None for name in names}
