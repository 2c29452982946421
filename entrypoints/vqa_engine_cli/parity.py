"""`vqa-engine parity`: where two adapters part ways on the same questions."""

from __future__ import annotations

import sys
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.counting import counted
from vqa_engine_cli.finite import FiniteRange
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import (
    json_option,
    memory_options,
    options,
    plan_options,
    process_options,
    question_options,
)
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from vqa_engine.parity import Parity
    from vqa_engine.results import Row

_EXIT_DIFFERENT = 1

FEW = 20
"""Questions that are asked unless --limit or --sample says otherwise."""


@click.command(cls=Command, short_help="Find the stage at which two adapters part ways.")
@click.argument("one", metavar="ADAPTER[@MODEL]")
@click.argument("other", metavar="ADAPTER[@MODEL]")
@options(
    click.option("--trust-remote-code", is_flag=True, help="Allow checkpoints to run code."),
    click.option(
        "--adapter-option",
        "adapter_options",
        multiple=True,
        metavar="[NAME:]KEY=VALUE",
        help="Option of an adapter itself; with NAME: of that one only.",
    ),
    click.option(
        "--tolerance",
        type=FiniteRange(0),
        default=1e-3,
        show_default=True,
        help="By how much pixels and log-probabilities may differ.",
    ),
    plan_options,
    question_options,
    memory_options,
    process_options,
    json_option,
)
def parity(one: str, other: str, as_json: bool, tolerance: float, **given: Any) -> None:
    """Ask two adapters the same questions, and say at which stage they first differ.

    The stages: prompt, prompt ids, picture size, picture tiles, pixels, image positions,
    first token, ids, text. Exit code 1 if any question differs. Use float32 on both sides to
    compare two libraries: --adapter-option llava_torch:dtype=float32.

    \b
    Example:
      vqa-engine parity llava_mlx@FOLDER llava_torch@FOLDER --questions vqa.jsonl
    """
    from vqa_engine.parity import compare
    from vqa_engine_cli.building import engine, question_set
    from vqa_engine_cli.display import observer

    given |= {"adapters": (one, other), "model": None, "revision": None}
    if given["limit"] is None and given["sample"] is None:
        given["limit"] = FEW
    questions = question_set(given)
    with engine(given, observer(quiet=True), trace=True) as running:
        first, second = running.labels
        rows = list(running.answers(questions))
    ours, theirs = (_of(rows, label) for label in (first, second))
    found = compare(ours, theirs, tolerance)
    if as_json:
        _show_json(found)
    else:
        _show(found, *_names(first, second))
    sys.exit(_EXIT_DIFFERENT if found.differences else 0)


def _of(rows: list[Row], label: str) -> list[Row]:
    """One adapter's rows in an order that both share; answers come back image by image."""
    mine = (row for row in rows if row.adapter == label)
    return sorted(mine, key=lambda row: str(row.question.question_id))


def _names(one: str, other: str) -> tuple[str, str]:
    """What to call the two: their names without the model, if that tells them apart."""
    first, second = (text.partition("@")[0] for text in (one, other))
    return (one, other) if first == second else (first, second)


def _show(found: Parity, one: str, other: str) -> None:
    same = "All" if not found.differences else f"{found.same:,} of"
    echo(f"{same} {counted(found.total, 'question')} went the same way in {one} and {other}")
    for stage, count in found.counts.items():
        example = found.example(stage)
        echo(
            f"\n{counted(count, 'question')} first differed in: {stage}\n"
            f"  for example question {example.question_id}:"
        )
        for name, value in ((one, example.one), (other, example.other)):
            echo(f"    {name}:\n" + indent(value, 6 * " "))


def _show_json(found: Parity) -> None:
    import msgspec

    value = {"total": found.total, "same": found.same, "counts": found.counts}
    differences = msgspec.to_builtins(found.differences)
    echo(msgspec.json.encode({**value, "differences": differences}).decode())
