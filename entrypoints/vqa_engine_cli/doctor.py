"""`vqa-engine doctor`: this machine, the interpreter of each worker, every plugin's calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.adapters import show as show_adapters
from vqa_engine_cli.adapters import timeout_option
from vqa_engine_cli.building import interpreters
from vqa_engine_cli.options import json_option, options, python_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vqa_engine.doctor.diagnosis import Diagnosis
    from vqa_engine.doctor.examination import Examination
    from vqa_engine.plugins.listing import Listed

LABEL = 16


@click.command()
@options(python_option, timeout_option, json_option)
def doctor(pythons: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Examine this machine, and try every backend call that an installed adapter declares.

    Each interpreter that a worker would run under is examined by itself; give --python as
    to `run`. Exit code 3 means that something is wrong with a plugin or an interpreter.

    \b
    Example:
      vqa-engine doctor --python old_palette=~/other-env/bin/python
    """
    from vqa_engine.doctor.examination import examine

    found = examine(interpreters(pythons), longest=timeout)
    if as_json:
        _show_json(found)
    else:
        _show(found)
    sys.exit(3 if any(one.sick for one in found) else 0)


def _show(found: Sequence[Examination]) -> None:
    for number, one in enumerate(found):
        if number:
            click.echo(f"\n{'─' * LABEL}\n")
        for label, text in _facts(one):
            click.echo(f"{label:<{LABEL}} {text}")
        for failure in one.failures:
            click.echo(click.style(f"\n{failure}", fg="red"))
        if one.plugins:
            _show_plugins(one.plugins)


def _show_plugins(found: Sequence[Listed]) -> None:
    from vqa_engine.plugins.registry import GROUP

    adapters = [one for one in found if one.group == GROUP]
    click.echo()
    show_adapters(adapters)
    click.echo()
    for line in (*_calls(adapters), *_others(one for one in found if one.group != GROUP)):
        click.echo(line)


def _facts(one: Examination) -> Iterator[tuple[str, str]]:
    told = one.diagnosis
    yield "interpreter", one.interpreter + (f" (Python {told.python})" if told else "")
    yield "runs workers of", ", ".join(one.workers) or "none"
    yield from _machine(told) if told else ()


def _machine(told: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "vqa-engine", told.vqa_engine
    yield "libraries", ", ".join(f"{k} {v}" for k, v in told.libraries.items()) or "none"
    yield "machine", f"{told.system}, {told.cores} cores"
    yield "memory left", told.left
    yield "hub cache", f"{told.hub_cache} ({told.hub_state})"
    for one in told.backends:
        yield f"backend {one.name}", one.error or one.device
        if not one.error:
            yield "  may hold", one.budget


def _calls(adapters: Iterable[Listed]) -> Iterator[str]:
    """Each declared strategy, and whether its backend has the calls that it needs."""
    for one in adapters:
        for call in one.calls:
            state = f"FAILED  {call.error}" if call.error else "ok"
            yield f"{one.name}: {call.strategy}: {state}"


def _others(found: Iterable[Listed]) -> Iterator[str]:
    """Plugins of the other groups, a line each."""
    from vqa_engine.plugins.entry_points import KINDS

    for one in found:
        wrong = f": {one.reason}. {one.remedy}" if one.reason else ""
        yield f"{KINDS[one.group]} {one.name} ({one.source}): {one.state}{wrong}"


def _show_json(found: Sequence[Examination]) -> None:
    import msgspec

    from vqa_engine_cli.adapters import record

    told = [
        {
            **msgspec.to_builtins(one),
            "plugins": [
                {"group": plugin.group, **record(plugin), "calls": plugin.calls}
                for plugin in one.plugins
            ],
        }
        for one in found
    ]
    click.echo(msgspec.json.encode({"interpreters": told}).decode())
