"""`vqa-engine tasks`: the benchmarks that can be run by name, and what one of them asks."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqa_engine_cli.help import Command
from vqa_engine_cli.options import json_option, options
from vqa_engine_cli.terminal import echo, style

if TYPE_CHECKING:
    from vqa_engine import Question
    from vqa_engine.questions.tasks import Task

_LEFT_OUT = (
    "Left out: benchmarks that need a judge model (MM-Vet, LLaVA-Bench), and videos. Multiple "
    "choice is answered by generating unless a run says --choose likelihood."
)
_NEWEST = "not pinned: the newest is downloaded once"
HEADINGS = ("task", "questions", "size", "here", "metric", "licence")


@click.group(invoke_without_command=True, short_help="List the tasks: benchmarks by name.")
@options(json_option)
@click.pass_context
def tasks(ctx: click.Context, as_json: bool) -> None:
    """List the tasks: questions, size, licence, and whether the data is on this machine.

    \b
    Examples:
      vqa-engine tasks
      vqa-engine tasks show textvqa
      vqa-engine --task textvqa --adapter smolvlm
    """
    if ctx.invoked_subcommand is not None:
        return
    from vqa_engine.questions.tasks import find

    found = list(find.readable())
    if as_json:
        _print_json([_record(task) for task in found])
    else:
        _show_list(found)


@tasks.command(cls=Command)
@click.argument("name", metavar="NAME|CARD")
@click.option("--adapter", "-a", help="Adapter whose prompt is shown: NAME or NAME@MODEL.")
@click.option("--download", is_flag=True, help="Download the data if it is not here.")
@options(json_option)
def show(name: str, adapter: str | None, download: bool, as_json: bool) -> None:
    """Show a task's card, and one question as the model gets it."""
    from vqa_engine.questions.tasks import find

    task = find.task(name)
    if as_json:
        _print_json(_record(task))
        return
    for heading, text in _card(task):
        echo(textwrap.fill(f"{heading:10}{text}", _width(), subsequent_indent=" " * 10))
    _show_question(task, adapter, download)


@tasks.command(cls=Command)
@click.argument("name", metavar="NAME|CARD")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Card to write.")
def pin(name: str, output: Path | None) -> None:
    """Write a card that names its data exactly: commit, digest, number of questions.

    The data is downloaded if it is not here. A run of that card stops when the data is
    another.
    """
    from vqa_engine.files import replace
    from vqa_engine.questions.tasks import find
    from vqa_engine.questions.tasks.pin import pinned

    task = find.task(name)
    target = output or Path(f"{task.name}.toml")
    if target.exists() and output is None:
        raise click.ClickException(f"{target} exists; name the card to write with --output.")
    replace(target, [pinned(task, target).encode()])
    echo(f"Wrote {target}. Run it with --task {target}")


def _show_list(found: list[Task]) -> None:
    rows = [HEADINGS, *(tuple(map(str, _cells(task))) for task in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = _width() - sum(widths[:-1]) - 2 * len(widths[:-1])
    for *cells, licence in rows:
        shown = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        line = f"{shown}  {textwrap.shorten(licence, max(room, 8), placeholder='…')}"
        echo(style(line.rstrip(), bold=licence is HEADINGS[-1]))
    free = [task.name for task in found if task.card.data.hub and not task.card.data.revision]
    if free:
        _say(f"Not pinned to a revision, so the newest is downloaded once: {', '.join(free)}")
    _say(_LEFT_OUT)
    unknown = ", and a size that is not known (?)" if any(row[2] == "?" for row in rows) else ""
    echo(
        f"\nOne question as the model gets it{unknown}: vqa-engine tasks show NAME"
        "\nA card that names its data exactly: vqa-engine tasks pin NAME"
    )


def _say(text: str) -> None:
    echo(f"\n{textwrap.fill(text, _width())}")


def _width() -> int:
    return shutil.get_terminal_size().columns


def _cells(task: Task) -> Iterator[str]:
    card = task.card
    yield task.name
    yield f"{card.data.questions:,}" if card.data.questions else "?"
    yield _size(task)
    yield "yes" if _is_here(task) else "no"
    yield card.score.metrics[0].partition("+")[0]
    yield card.licence


def _size(task: Task) -> str:
    from vqa_engine.questions.tasks import task_set

    count = task_set.size(task)
    if count is None:
        return "?" if task.card.data.hub else "–"
    return _bytes(count)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def _asked_size(task: Task) -> str:
    """The size of the download; where it is not known, the hub is asked."""
    from vqa_engine.errors import VqaEngineError
    from vqa_engine.questions.tasks import task_set

    try:
        count = task_set.ask_size(task)
    except VqaEngineError as error:
        return f"unknown ({error})"
    return "unknown" if count is None else _bytes(count)


def _is_here(task: Task) -> bool:
    from vqa_engine.questions.tasks import is_here

    return is_here(task)


def _card(task: Task) -> Iterator[tuple[str, str]]:
    card, data, score = task.card, task.card.data, task.card.score
    yield "task", f"{task.name}, version {card.version}: {card.title}"
    where = f"{data.hub}, " if data.hub else ""
    yield "data", f"{where}{', '.join(data.files)}"
    if data.hub:
        yield "size", _asked_size(task)
        yield "revision", data.revision or _unpinned(task)
    yield "licence", card.licence
    yield "metrics", ", ".join(score.metrics)
    if score.headline:
        yield "headline", score.headline
    yield "prompts", ", ".join(("default", *card.prompt.family))
    if card.page:
        yield "page", card.page
    if card.note:
        yield "note", card.note


def _unpinned(task: Task) -> str:
    from vqa_engine.questions.tasks.task_set import data_commit

    here = data_commit(task)
    return f"not pinned; downloaded from {here}" if here else _NEWEST


def _show_question(task: Task, adapter: str | None, download: bool) -> None:
    from vqa_engine.questions.question_set import worded
    from vqa_engine.questions.tasks import load_task

    if not (download or _is_here(task)):
        echo("\nThe data is not on this machine; --download gets it and shows a question.")
        return
    found, family = load_task(task), _family(adapter) if adapter else ""
    name, wording = found.wording_for(family)
    echo(f"digest    sha256:{found.data_digest()}{_since(task)}")
    echo(f"\nThe first question, prompt {name!r} ({wording.source or 'no source'}):")
    _show_one(next(iter(worded(found, family))))


def _since(task: Task) -> str:
    """What the digest of the questions was compared with."""
    from vqa_engine.questions.tasks.first import known
    from vqa_engine.questions.tasks.task_set import data_commit

    if task.card.data.digest:
        return ", as the card says"
    first = known(task, data_commit(task)) if task.card.data.hub else None
    return f", as first read on {first.day}" if first else ""


def _family(adapter: str) -> str:
    from vqa_engine import AdapterSpec
    from vqa_engine.plugins.resolution import resolve
    from vqa_engine.worker.apart import sight_of

    (one,) = resolve(AdapterSpec.parse(adapter))
    return sight_of(one.spec).family or one.spec.name


def _show_one(question: Question) -> None:
    for image in question.all_images:
        echo(f"  image         {image!s}")
    echo(textwrap.indent(question.text, "  | ", lambda _line: True))
    echo(f"  ground truth  {', '.join(question.answers) or '–'}")
    if question.choices:
        echo(f"  choices       {' | '.join(question.choices)}")


def _record(task: Task) -> dict[str, object]:
    import msgspec

    from vqa_engine.questions.tasks import task_set

    known = {"here": _is_here(task), "size": task_set.size(task)}
    return {**known, **msgspec.to_builtins(task.card)}


def _print_json(value: object) -> None:
    import msgspec

    echo(msgspec.json.encode(value).decode())
