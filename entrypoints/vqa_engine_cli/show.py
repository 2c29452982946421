"""`vqa-engine show`: the questions of a run, those that went wrong first of all."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.finite import Whole
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import (
    RUN,
    json_option,
    metric_option,
    only_options,
    options,
    salvage_option,
)
from vqa_engine_cli.terminal import echo, own, style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vqa_engine.runs.reading import Graded, Only

MARKS = {True: ("✗", "red"), False: ("✓", "green")}


@click.command(cls=Command, short_help="Show the questions of a run: wrong, failed or disputed.")
@click.argument("run", type=RUN)
@options(
    only_options,
    click.option("--adapter", help="Only this adapter.  [default: all]"),
    metric_option,
    click.option(
        "--limit",
        type=Whole(1),
        default=20,
        show_default=True,
        metavar="N",
        help="Show the first N questions.",
    ),
    salvage_option,
    json_option,
)
def show(  # noqa: PLR0913, PLR0917  one for each option
    run: Path,
    only: frozenset[Only],
    adapter: str | None,
    metrics: tuple[str, ...],
    limit: int,
    salvage: bool,
    as_json: bool,
) -> None:
    """Show the questions of RUN with every adapter's answer.

    \b
    Examples:
      vqa-engine show runs/kettles --wrong
      vqa-engine show runs/kettles --differ --limit 5
    """
    from vqa_engine.runs.export import record
    from vqa_engine.runs.opening import opened
    from vqa_engine.runs.reading import by_question
    from vqa_engine.runs.rescoring import chosen_metrics
    from vqa_engine_cli.live import print_json

    with opened([run], salvage=salvage) as (known,):
        chosen, _ = chosen_metrics(known, metrics)
        found = by_question(known.journal, known.journal.labels(adapter), chosen, only)
        shown = 0
        for rows in islice(found, limit):
            shown += 1
            if as_json:
                for one in rows:
                    print_json(record(one.row, one.scores))
            else:
                for line in _lines(rows):
                    echo(line)
        more = sum(1 for _ in found)
    if not shown and not as_json:
        echo(f"{run} has no such question.", err=True)
    if more and not as_json:
        echo(f"… and {more:,} more; --limit shows them.", err=True)


def _lines(rows: Sequence[Graded]) -> Iterator[str]:
    from vqa_engine_cli.pictures import inline

    question = rows[0].row.question
    yield style(f"{question.question_id}: {question.text}", bold=True)
    if isinstance(question.image, Path):
        if picture := inline(question, sys.stdout):
            yield own(picture)
        yield f"    picture  {question.image}"
    if question.choices:
        pairs = zip(ascii_uppercase, question.choices, strict=False)
        yield f"    choices  {'  '.join(f'{letter}. {text}' for letter, text in pairs)}"
    if question.answers:
        yield f"    truth    {', '.join(dict.fromkeys(question.answers))}"
    for one in rows:
        yield f"    {_answer(one)}"
    yield ""


def _answer(one: Graded) -> str:
    row = one.row
    if row.answer is None:
        why = row.failure.message if row.failure else "no answer"
        return style(f"! {row.adapter}: {why}", fg="red")
    said = row.answer.text
    if row.answer.probability is not None:
        said += f", {100 * row.answer.probability:.0f} % sure"
    scored = [score for score in one.scores.values() if score is not None]
    if not scored:
        return f"  {row.adapter}: {said}"
    mark, colour = MARKS[one.wrong]
    return style(f"{mark} {row.adapter}: {said}  ({scored[0]:.2g})", fg=colour)
