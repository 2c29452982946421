"""`vqa-engine fit`: whether a model fits on this machine, before anything is loaded."""

from __future__ import annotations

import sys
from typing import Any

import click

from vqa_engine_cli.building import plan, policy, specs
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import adapter_options, memory_options, options, plan_options
from vqa_engine_cli.terminal import echo

_EXIT_DOES_NOT_FIT = 1


@click.command(cls=Command, short_help="Say whether a model fits in memory, without loading it.")
@options(adapter_options, plan_options, memory_options)
def fit(**given: Any) -> None:
    """Estimate the memory that a model needs, and the plan with which it fits.

    Reads the headers of its files only, and imports no model library. Exit code 1 when it
    does not fit.

    \b
    Example:
      vqa-engine fit --adapter phi35_vision --memory-budget 6GiB
    """

    from vqa_engine.worker.apart import fit_of

    findings = []
    for spec in specs(given):
        finding = fit_of(spec, plan(given), policy(given))
        echo("\n  ".join((f"{spec.label}:", *finding.lines)))
        findings.append(finding)
    if not all(finding.fits for finding in findings):
        sys.exit(_EXIT_DOES_NOT_FIT)
