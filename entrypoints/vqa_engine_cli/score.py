"""`vqa-engine score`: scores of a VQA v2 result file, or of a run, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vqa_engine_cli.building import question_set
from vqa_engine_cli.options import json_option, metric_option, options, question_options


@click.command()
@click.argument("results", type=click.Path(exists=True, path_type=Path))
@options(
    question_options,
    click.option("--seed", type=int, default=0, show_default=True, help="Of --sample."),
    click.option("--partial", is_flag=True, help="Score the ids that are there, if some miss."),
    metric_option,
    json_option,
)
def score(
    results: Path, partial: bool, metrics: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Score RESULTS: a VQA v2 result file over --questions, or a run directory.

    \b
    Examples:
      vqa-engine score --questions q.json --annotations a.json results.json
      vqa-engine score runs/kettles
    """
    from vqa_engine.runs.rescoring import Rescored, score_run
    from vqa_engine.scoring import score_results
    from vqa_engine_cli.display import show_scores, show_scores_json

    if results.is_dir():
        rescored = score_run(results, metrics)
    else:
        scored, why = score_results(question_set(given), results, metrics, partial=partial)
        rescored = Rescored({results.name: scored}, why)
    if as_json:
        show_scores_json(rescored.scores)
    else:
        show_scores(rescored)
