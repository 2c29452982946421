"""`vqa-engine doctor`: this machine, its interpreters, and every plugin's calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.adapters import show as show_adapters
from vqa_engine_cli.adapters import timeout_option
from vqa_engine_cli.options import json_option, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vqa_engine.diagnosis import Diagnosis
    from vqa_engine.registry import PluginReport

LABEL = 16


@click.command()
@options(
    click.option(
        "--python",
        "pythons",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Another interpreter that a worker is to run under; repeatable.",
    ),
    timeout_option,
    json_option,
)
def doctor(pythons: tuple[Path, ...], timeout: float, as_json: bool) -> None:
    """Examine this machine, and try every backend call that an installed adapter declares.

    Exit code 3 means that something is wrong with a plugin or an interpreter.

    \b
    Example:
      vqa-engine doctor --python ~/other-env/bin/python
    """
    from vqa_engine import plugins, registry

    diagnoses, failures = _diagnoses(pythons)
    adapters = registry.report(longest=timeout, bind=True)
    others = [
        r for group in plugins.KINDS for r in registry.report(plugins.find(group), longest=timeout)
    ]
    show = _show_json if as_json else _show
    show(diagnoses, failures, adapters, others)
    sick = any(r.error or any(b.error for b in r.bindings) for r in (*adapters, *others))
    sys.exit(3 if sick or failures else 0)


def _diagnoses(pythons: Sequence[Path]) -> tuple[list[Diagnosis], list[str]]:
    """This interpreter and the others; what cannot be examined is a sentence."""
    from vqa_engine.diagnosis import diagnose
    from vqa_engine.errors import InterpreterError

    found, failures = [], []
    for python in (None, *pythons):
        try:
            found.append(diagnose(python))
        except InterpreterError as error:
            failures.append(str(error))
    return found, failures


def _show(
    diagnoses: Sequence[Diagnosis],
    failures: Sequence[str],
    adapters: Sequence[PluginReport],
    others: Sequence[PluginReport],
) -> None:
    for diagnosis in diagnoses:
        for label, text in _facts(diagnosis):
            click.echo(f"{label:<{LABEL}} {text}")
        click.echo()
    for failure in failures:
        click.echo(f"{click.style(failure, fg='red')}\n")
    show_adapters(adapters)
    click.echo()
    for line in (*_bindings(adapters), *_others(others)):
        click.echo(line)


def _facts(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "interpreter", f"{diagnosis.executable} (Python {diagnosis.python})"
    yield "vqa-engine", diagnosis.vqa_engine
    yield "libraries", ", ".join(f"{k} {v}" for k, v in diagnosis.libraries.items()) or "none"
    yield "machine", f"{diagnosis.system}, {diagnosis.cores} cores"
    yield "memory left", diagnosis.left
    yield "hub cache", f"{diagnosis.hub_cache} ({diagnosis.hub_state})"
    for one in diagnosis.backends:
        yield f"backend {one.name}", one.error or one.device
        if not one.error:
            yield "  may hold", one.budget
            yield "  BLAS", ", ".join(one.blas) or "this platform does not tell"
        if one.advice:
            yield "  advice", one.advice


def _bindings(reports: Sequence[PluginReport]) -> Iterator[str]:
    """Each declared strategy, and whether its backend has the calls that it needs."""
    for report in reports:
        for binding in report.bindings:
            state = f"FAILED  {binding.error}" if binding.error else "ok"
            yield f"{report.plugin.name}: {binding.strategy}: {state}"


def _others(reports: Sequence[PluginReport]) -> Iterator[str]:
    """Plugins of the other groups, a line each."""
    from vqa_engine.plugins import KINDS

    for report in reports:
        kind = KINDS[report.plugin.entry_point.group]
        wrong = f": {report.reason}. {report.remedy}" if report.error else ""
        yield f"{kind} {report.plugin.name} ({report.plugin.source}): {report.state}{wrong}"


def _show_json(
    diagnoses: Sequence[Diagnosis],
    failures: Sequence[str],
    adapters: Sequence[PluginReport],
    others: Sequence[PluginReport],
) -> None:
    import msgspec

    from vqa_engine_cli.adapters import record

    told = {
        "interpreters": diagnoses,
        "failures": failures,
        "adapters": [{**record(one), "calls": one.bindings} for one in adapters],
        "others": [{"group": one.plugin.entry_point.group, **record(one)} for one in others],
    }
    click.echo(msgspec.json.encode(told).decode())
