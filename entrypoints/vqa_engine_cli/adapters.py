"""`vqa-engine adapters`: every plugin, healthy or broken, with the reason."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.options import json_option, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vqa_engine.registry import PluginReport

HEADINGS = ("adapter", "state", "package", "backend", "default checkpoint")
COLOURS = {"healthy": "green"}
GAP = 2

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Seconds that importing one plugin may take.",
)


@click.command()
@options(timeout_option, json_option)
def adapters(timeout: float, as_json: bool) -> None:
    """List every installed adapter: whether it works, where it comes from, why not.

    Each is imported in a process of its own, so one that hangs or crashes is a line here.
    """
    from vqa_engine import registry

    reports = registry.report(longest=timeout)
    if as_json:
        _show_json(reports)
    else:
        show(reports)


def show(reports: Sequence[PluginReport]) -> None:
    """A row for each adapter; below a broken one what is wrong, and what to do."""
    rows = [_cells(report) for report in reports]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    room = shutil.get_terminal_size().columns
    click.echo(click.style(_line(HEADINGS, widths), bold=True))
    for report, row in zip(reports, rows, strict=True):
        _row(report, row, widths, room)


def _cells(report: PluginReport) -> tuple[str, ...]:
    backend = report.profile.backend if report.profile else ""
    plugin = report.plugin
    return plugin.name, report.state, plugin.source, backend, report.model or ""


def _row(report: PluginReport, row: Sequence[str], widths: Sequence[int], room: int) -> None:
    indent = " " * (widths[0] + GAP)
    whole = _line(row, widths)
    crowded = len(whole) > room
    colour = COLOURS.get(report.state, "red")
    click.echo(click.style(_line(row[:-1], widths) if crowded else whole, fg=colour))
    if crowded:
        click.echo(f"{indent}{row[-1]}")
    for text in filter(None, (report.reason, report.remedy)):
        mark = "→ " if text == report.remedy else ""
        click.echo(
            textwrap.fill(f"{mark}{text}", room, initial_indent=indent, subsequent_indent=indent)
        )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width + GAP) for cell, width in zip(cells, widths, strict=False))
    return "".join(padded).rstrip()


def _show_json(reports: Sequence[PluginReport]) -> None:
    import msgspec

    click.echo(msgspec.json.encode([record(report) for report in reports]).decode())


def record(report: PluginReport) -> dict[str, object]:
    """A report as plain data."""
    return {
        "name": report.plugin.name,
        "state": report.state,
        "distribution": report.plugin.distribution,
        "version": report.plugin.version,
        "target": report.plugin.target,
        "backend": report.profile.backend if report.profile else None,
        "weights": report.profile.weights if report.profile else None,
        "model": report.model,
        "reason": report.reason or None,
        "remedy": report.remedy or None,
    }
