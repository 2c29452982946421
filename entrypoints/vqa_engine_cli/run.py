"""`vqa-engine run`: ask one adapter or several a question set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.building import engine, places, question_set
from vqa_engine_cli.options import (
    adapter_options,
    json_option,
    memory_options,
    metric_option,
    options,
    place_options,
    plan_options,
    process_options,
    question_options,
    verbose_option,
)

if TYPE_CHECKING:
    from vqa_engine import Engine, QuestionSet, RunResult

EXIT_INCOMPLETE = 3

RUNS = Path("runs")
"""Where runs without --output go."""


@click.command()
@options(
    adapter_options,
    question_options,
    plan_options,
    memory_options,
    process_options,
    place_options,
    metric_option,
    click.option(
        "--blind",
        is_flag=True,
        help="Ask everything again with a grey picture of the same size, and print the gain that "
        "the pictures make.",
    ),
    click.option(
        "--output",
        "-o",
        type=click.Path(file_okay=False, path_type=Path),
        help="Run directory; an existing run is continued.  [default: runs/…, by its settings]",
    ),
    click.option(
        "--fresh", is_flag=True, help="Start a new run, in a directory beside the old one."
    ),
    click.option(
        "--keep-failed",
        is_flag=True,
        help="Do not ask questions again that failed in an earlier run.",
    ),
    click.option(
        "--same-failures",
        type=click.IntRange(0),
        metavar="N",
        default=10,
        help="End the run when its first N questions all fail in the same way.  "
        "[default: 10; 0: never]",
    ),
    json_option,
    verbose_option,
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
    from vqa_engine.questions.tasks import blinded

    questions = question_set(given)
    with _engine(given, as_json, verbose) as running:
        directory = output or _default_directory(running, questions)
        results = [_run(running, questions, directory, given)]
        if given["blind"]:
            results.append(_run(running, blinded(questions), _beside(directory), given))
    for result in results:
        _show(result, questions, as_json, given["keep_failed"])
    if given["blind"]:
        metrics = given["metrics"] or getattr(questions, "metrics", ())
        _show_gain(*results, metrics=metrics, as_json=as_json)
    if not all(result.complete for result in results):
        sys.exit(EXIT_INCOMPLETE)


def _engine(given: dict[str, Any], as_json: bool, verbose: bool) -> Engine:
    from vqa_engine_cli.display import observer

    shown = observer(as_json=as_json, verbose=verbose)
    metrics = given["metrics"] or None
    return engine(
        given,
        shown,
        metrics=metrics,
        same_failures=given["same_failures"],
        places=places(given),
        parallel=given["parallel"],
    )


def _default_directory(running: Engine, questions: QuestionSet) -> Path:
    """A name that depends on the settings alone, so that the same command finds its run again."""
    wanted = running.manifest(questions)
    names = "-".join(wanted.adapters).replace("/", "_")[:60]
    return RUNS / f"{names}-{wanted.digest[:8]}"


def _run(
    running: Engine, questions: QuestionSet, directory: Path, given: dict[str, Any]
) -> RunResult:
    try:
        return running.run(
            questions, directory, fresh_start=given["fresh"], keep_failed=given["keep_failed"]
        )
    except KeyboardInterrupt:
        click.echo(
            f"\nInterrupted. Every answer so far is in {directory}; "
            "the same command continues from there.",
            err=True,
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
            click.echo(f"Gain of the pictures over grey ones of the same size, {label}:")
        sides = Side(blind.directory, label), Side(seeing.directory, label)
        gain = compare_runs(*sides, metrics[0] if metrics else None, anyway=True)
        show_comparison(gain, as_json=as_json)


def _show(result: RunResult, questions: QuestionSet, as_json: bool, keep_failed: bool) -> None:
    from vqa_engine_cli.display import show_result, show_result_json

    if as_json:
        show_result_json(result)
    else:
        show_result(result, questions.name, keep_failed=keep_failed)
        _show_prompts(result, questions)


def _show_prompts(result: RunResult, questions: QuestionSet) -> None:
    """Which of the task's prompts each adapter got, for it is a part of the score."""
    from vqa_engine.questions.tasks import TaskSet

    if isinstance(questions, TaskSet):
        for label in result.scores:
            name, wording = questions.wording_for(label.partition("@")[0])
            source = f", worded by {wording.source}" if wording.source else ""
            click.echo(f"{label}: prompt {name!r}{source}")
