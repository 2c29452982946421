"""`vqa-engine status`: how far a run is, asked from another terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.finite import FiniteRange
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import RUN, json_option, options
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from vqa_engine.reporting.watching import Progress, Watched


@click.command(cls=Command, short_help="Show how far a run is.")
@click.argument("run", type=RUN)
@options(
    click.option(
        "--every",
        type=FiniteRange(0, min_open=True),
        metavar="SECONDS",
        help="Repeat this often until the run ends.",
    ),
    json_option,
)
def status(run: Path, every: float | None, as_json: bool) -> None:
    """Show the progress of RUN: speed, time left, memory and errors.

    It only reads, so it works while the run is in progress.
    """
    from vqa_engine.reporting.watching import look

    while True:
        watched = look(run)
        for line in [_json(watched)] if as_json else _lines(watched):
            echo(line)
        if every is None or watched.state != "running":
            return
        sleep(every)


def _lines(watched: Watched) -> Iterator[str]:
    yield f"{watched.directory}: {watched.state}, question set {watched.question_set}"
    for one in watched.adapters:
        yield f"{one.label}:"
        for name, value in _facts(one, watched.state == "running"):
            if value:
                yield f"  {name:<10}  {value}"


def _facts(one: Progress, running: bool) -> Iterator[tuple[str, str]]:
    from vqa_engine_cli.live import duration

    tally = one.tally
    share = f"  ({100 * tally.done / tally.total:.1f} %)" if tally.total else ""
    flight = f", {one.in_flight} being asked" if running and one.in_flight else ""
    yield "asked", f"{tally.done:,}/{tally.total:,}{share}{flight}"
    yield "speed", f"{one.pace:.2f} questions/s" if one.pace else ""
    yield "time left", f"about {duration(one.left)}" if running and one.left else ""
    causes = ", ".join(f"{cause.replace('_', ' ')} {n:,}" for cause, n in tally.causes.items())
    yield "no answer", f"{tally.failed:,} ({causes})" if tally.failed else "0"
    yield "degraded", f"{tally.degraded:,}" if tally.degraded else ""
    yield "places", ", ".join(f"{place} {count:,}" for place, count in tally.places.items())
    yield "memory", _memory(one)
    yield "actions", _actions(one)
    yield "audit", "; ".join(one.memory.verdicts)


def _actions(one: Progress) -> str:
    """How often each strategy acted; `vqa-engine memory` has the calls that it made."""
    times: Counter[str] = Counter()
    for action in one.memory.actions:
        times[action.strategy] = max(times[action.strategy], action.times)
    return ", ".join(f"{strategy} × {count:,}" for strategy, count in times.items())


def _memory(one: Progress) -> str:
    from vqa_engine.memory.budget import shown

    seen = one.memory.extremes
    parts = (
        f"peak {shown(seen.peak)}" if seen.peak else "",
        f"floor {shown(seen.floor)} to {shown(seen.highest_floor)}" if seen.floor else "",
        f"process at most {shown(seen.footprint)}" if seen.footprint else "",
    )
    return ", ".join(filter(None, parts))


def _json(watched: Watched) -> str:
    import msgspec

    return msgspec.json.encode(watched, enc_hook=str).decode()
