"""`vqa-engine doctor`: this machine, the interpreter of each worker, every plugin's calls."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.adapters import show as show_adapters
from vqa_engine_cli.adapters import timeout_option
from vqa_engine_cli.building import interpreters
from vqa_engine_cli.counting import counted
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import json_option, options, python_option
from vqa_engine_cli.terminal import echo, style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vqa_engine.doctor import Examination
    from vqa_engine.doctor.machine import Machine
    from vqa_engine.plugins.probe import PluginReport

LABEL = 16


@click.command(cls=Command, short_help="Examine this machine and every adapter.")
@options(python_option, timeout_option, json_option)
def doctor(pythons: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Examine this machine, and check every backend call that an installed adapter declares.

    Each interpreter that a worker would run under is examined separately; pass --python as
    to `run`. Exit code 3 means that a plugin or an interpreter has a fault; an extra that is
    not installed is none.

    \b
    Example:
      vqa-engine doctor --python old_palette=~/other-env/bin/python
    """
    from vqa_engine.doctor import examine

    found = examine(interpreters(pythons), longest=timeout)
    if as_json:
        _show_json(found)
    else:
        _show(found)
    sys.exit(3 if any(one.faulty for one in found) else 0)


def _show(found: Sequence[Examination]) -> None:
    for number, one in enumerate(found):
        if number:
            echo(f"\n{'─' * LABEL}\n")
        for label, text in _facts(one):
            echo(f"{label:<{LABEL}} {text}")
        for failure in one.failures:
            echo(style(f"\n{failure}", fg="red"))
        if one.plugins:
            _show_plugins(one.plugins)


def _show_plugins(found: Sequence[PluginReport]) -> None:
    from vqa_engine.plugins.entry_points import ADAPTERS

    adapters = [one for one in found if one.group == ADAPTERS]
    echo()
    show_adapters(adapters)
    echo()
    for line in (
        *_checkpoints(adapters),
        *_calls(adapters),
        *_others(one for one in found if one.group != ADAPTERS),
    ):
        echo(line)


def _facts(one: Examination) -> Iterator[tuple[str, str]]:
    machine = one.machine
    yield "interpreter", one.interpreter + (f" (Python {machine.python})" if machine else "")
    yield "runs workers of", ", ".join(one.workers) or "none"
    yield from _machine(machine) if machine else ()


def _machine(machine: Machine) -> Iterator[tuple[str, str]]:
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    yield "vqa-engine", machine.vqa_engine
    yield "libraries", libraries or "none"
    yield "machine", f"{machine.system}, {machine.cores} cores"
    yield "free memory", machine.available
    yield "hub cache", f"{machine.hub_cache} ({machine.hub_state})"
    for one in machine.backends:
        absent = f"not installed: {one.absent}" if one.absent else ""
        yield f"backend {one.name}", one.error or absent or one.device
        if one.budget:
            yield "  budget", one.budget


def _checkpoints(adapters: Iterable[PluginReport]) -> Iterator[str]:
    """Whether each adapter's default checkpoint is on this machine."""
    from vqa_engine.runs.checkpoint import hub_commit

    for one in adapters:
        if one.model and "/" in one.model:
            commit = hub_commit(one.model, one.revision)
            here = f"in the hub cache ({commit[:12]})" if commit else "not downloaded"
            how = "" if commit else f"; vqa-engine pull {one.name} fetches it"
            yield f"{one.name}: {one.model}: {here}{how}"


def _calls(adapters: Iterable[PluginReport]) -> Iterator[str]:
    """Each declared strategy, and whether its backend has the calls that it needs."""
    for one in adapters:
        if one.absent:
            yield f"{one.name}: the backend {one.backend} is not installed: {one.absent}"
        for call in one.calls:
            state = f"FAILED  {call.error}" if call.error else "ok"
            yield f"{one.name}: {call.strategy}: {state}"


def _others(found: Iterable[PluginReport]) -> Iterator[str]:
    """Plugins of the other groups: how many of a package are healthy, and each that is not."""
    from vqa_engine.plugins.entry_points import KINDS

    every = list(found)
    for (group, source), count in Counter(
        (one.group, one.source) for one in every if one.state == "healthy"
    ).items():
        yield f"{counted(count, KINDS[group])} ({source}): healthy"
    for one in every:
        if one.state != "healthy":
            wrong = f": {one.reason}. {one.remedy}" if one.reason else ""
            yield f"{KINDS[one.group]} {one.name} ({one.source}): {one.state}{wrong}"


def _show_json(found: Sequence[Examination]) -> None:
    import msgspec

    echo(msgspec.json.encode({"interpreters": found}).decode())
