"""`vqa-engine run`: ask one adapter or several a question set."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.building import (
    early_worker,
    engine,
    has_demo,
    has_typed_prompt,
    places,
    question_set,
)
from vqa_engine_cli.finite import Whole
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import (
    Group,
    adapter_options,
    format_option,
    json_option,
    memory_options,
    metric_option,
    options,
    place_options,
    plan_options,
    process_options,
    question_options,
    quiet_option,
    verbose_option,
)
from vqa_engine_cli.streams import ReaderGone
from vqa_engine_cli.terminal import echo
from vqa_engine_cli.unforeseen import remember

if TYPE_CHECKING:
    from vqa_engine import Engine, QuestionSet, RunResult

_EXIT_INCOMPLETE = 3

RUNS = Path("runs")
"""Where runs without --output go."""

LONGEST = 30
"""Characters of the models, and of the questions, in the name of a run."""


_RUN = Group(
    "Run",
    (
        click.option(
            "--output",
            "-o",
            type=click.Path(file_okay=False, path_type=Path),
            help="Run directory; an existing run is continued, also with another adapter or more "
            "questions.  [default: runs/DATE-MODELS-QUESTIONS]",
        ),
        click.option(
            "--fresh", is_flag=True, help="Start a new run, in a directory beside the old one."
        ),
        click.option(
            "--accept-changes",
            is_flag=True,
            help="Continue a run although libraries or the adapter changed, and record that.",
        ),
        click.option(
            "--keep-failed",
            is_flag=True,
            help="Do not ask questions again that failed in an earlier run.",
        ),
        click.option(
            "--same-failures",
            type=Whole(0),
            metavar="N",
            default=10,
            help="End the run when its first N questions all fail in the same way.  "
            "[default: 10; 0: never]",
        ),
        click.option(
            "--max-failures",
            type=Whole(1),
            metavar="N",
            help="End an adapter's run once N questions have failed.  [default: never]",
        ),
    ),
)

_SCORES = Group(
    "Scores",
    (
        metric_option,
        click.option(
            "--blind",
            is_flag=True,
            help="Ask everything again with a grey picture of the same size, and print the gain "
            "that the pictures make.",
        ),
        format_option,
    ),
)


@click.command(cls=Command, short_help="Ask a question set and score the answers (the default).")
@options(
    adapter_options,
    question_options,
    plan_options,
    memory_options,
    process_options,
    place_options,
    _RUN,
    _SCORES,
    json_option,
    verbose_option,
    quiet_option,
)
def run(output: Path | None, as_json: bool, verbose: bool, **given: Any) -> None:
    """Ask a question set, record every answer, and print the scores.

    The same command continues a run that stopped, and asks every question again that has
    no answer. Several adapters run one after the other, or side by side with --parallel.

    \b
    Examples:
      vqa-engine
      vqa-engine --adapter llava_mlx --questions vqa.csv --limit 10 --verbose
      vqa-engine --adapter smolvlm --task textvqa --sample 500
      vqa-engine -a smolvlm -a phi35_vision --questions q.json --annotations a.json --images val2014
      vqa-engine -a smolvlm_torch --questions vqa.jsonl --place cuda:0 --place cuda:1
    """
    click.get_current_context().with_resource(early_worker(given))
    from vqa_engine.questions.tasks import blinded

    questions = question_set(given)
    _check_choose(questions, given)
    if not (as_json or given["quiet"]):
        _say_demo(given)
    complete = False
    try:
        with _engine(given, as_json, verbose) as running:
            directory = output or _default_directory(running, questions)
            remember(click.get_current_context(), directory)
            results = [_run(running, questions, directory, given)]
            if given["blind"]:
                results.append(_run(running, blinded(questions), _beside(directory), given))
        complete = all(result.complete for result in results)
        for result in results:
            _show(result, questions, running, as_json, given)
        if given["blind"]:
            metrics = given["metrics"] or getattr(questions, "metrics", ())
            _show_gain(*results, metrics=metrics, as_json=as_json)
    except ReaderGone:
        pass  # what is not asked yet stays open
    if not complete:
        sys.exit(_EXIT_INCOMPLETE)


def _check_choose(questions: QuestionSet, given: dict[str, Any]) -> None:
    from vqa_engine.questions.presence import NO_CHOICES

    if given["choose"] and not any(one.choices for one in questions):
        raise click.UsageError(NO_CHOICES.format(questions.name))


def _say_demo(given: dict[str, Any]) -> None:
    """Say that the embedded model is a demo, and what to do next."""
    from vqa_engine.plugins.resolution import DEMO

    if has_demo(given):
        how = "vqa-engine --adapter smolvlm --questions FILE (see vqa-engine help run)"
        echo(f"{DEMO}. For photographs: {how}", err=True)


def _engine(given: dict[str, Any], as_json: bool, verbose: bool) -> Engine:
    from vqa_engine_cli.display import observer

    shown = observer(as_json=as_json, verbose=verbose, quiet=given["quiet"])
    metrics = given["metrics"] or None
    return engine(
        given,
        shown,
        metrics=metrics,
        same_failures=given["same_failures"],
        max_failures=given["max_failures"],
        places=places(given),
        parallel=given["parallel"],
    )


def _default_directory(running: Engine, questions: QuestionSet) -> Path:
    """The run of the same settings, or a new name: the date, the models and the questions."""
    from vqa_engine.runs.directory import fresh, matching

    wanted = running.manifest(questions)
    found = matching(RUNS, wanted)
    return found or fresh(RUNS / run_name(list(wanted.adapters), questions.name, date.today()))


def run_name(labels: Sequence[str], questions: str, today: date) -> str:
    """A short name of a run that can be read: its date, its models, its questions."""
    models = [label.removesuffix("@builtin").rpartition("/")[2] for label in labels]
    shown = "+".join([*models[:2], *([f"{len(models) - 2}-more"] if len(models) > 2 else [])])
    parts = (shown[:LONGEST], Path(questions).stem[:LONGEST])
    return "-".join([today.isoformat(), *(re.sub(r"[^\w.+-]+", "_", part) for part in parts)])


def _run(
    running: Engine, questions: QuestionSet, directory: Path, given: dict[str, Any]
) -> RunResult:
    try:
        return running.run(
            questions,
            directory,
            fresh_start=given["fresh"],
            keep_failed=given["keep_failed"],
            accept_changes=given["accept_changes"],
        )
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"Every answer so far is in {directory}; the same command continues from there."
        )
        raise


def _beside(directory: Path) -> Path:
    """Where the run without pictures is kept."""
    return directory.with_name(f"{directory.name}-blind")


def _show_gain(
    seeing: RunResult, blind: RunResult, *, metrics: Sequence[str], as_json: bool
) -> None:
    """What the pictures add to the score of each adapter, question by question."""
    from vqa_engine.runs.comparing import Side, compare_runs
    from vqa_engine_cli.display import show_comparison

    assert seeing.directory is not None
    assert blind.directory is not None
    for label in seeing.scores:
        if label in seeing.errors or label in blind.errors:
            continue
        if not as_json:
            echo(f"Gain of the pictures over grey ones of the same size, {label}:")
        sides = Side(blind.directory, label), Side(seeing.directory, label)
        gain = compare_runs(*sides, metrics[0] if metrics else None, anyway=True)
        show_comparison(gain, as_json=as_json)


def _show(
    result: RunResult,
    questions: QuestionSet,
    running: Engine,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    from vqa_engine_cli.display import show_formatted, show_result, show_result_json

    if as_json:
        show_result_json(result)
    elif given["form"] != "table":
        show_formatted(result.scores, given["form"])
    else:
        show_result(result, questions.name, keep_failed=given["keep_failed"])
        if not has_typed_prompt(given):
            _show_prompts(result, questions, running)


def _show_prompts(result: RunResult, questions: QuestionSet, running: Engine) -> None:
    """Which of the task's prompts each adapter got, for it is a part of the score."""
    from vqa_engine.questions.tasks import TaskSet

    if isinstance(questions, TaskSet):
        for label in result.scores:
            if label in result.errors:
                continue
            name, wording = questions.wording_for(running.family(label))
            source = f", worded by {wording.source}" if wording.source else ""
            echo(f"{label}: prompt {name!r}{source}")
