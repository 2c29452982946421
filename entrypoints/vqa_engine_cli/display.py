"""What commands print when they are done: tables for people, JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec
from rich.console import Console

from vqa_engine import Answer, RunResult
from vqa_engine.adapter import TokenCounts, Trace
from vqa_engine.console import PlainConsole
from vqa_engine.runs.journal import Tally
from vqa_engine.runs.rescoring import Rescored
from vqa_engine.scoring import ScoreTable
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.formats import FORMATS, formatted
from vqa_engine.scoring.report import comparison_table, score_tables
from vqa_engine_cli.counting import counted
from vqa_engine_cli.live import observer, print_json
from vqa_engine_cli.terminal import echo

UNLIMITED = 10_000
"""Columns of a file."""

__all__ = [
    "headlines",
    "observer",
    "show_answer",
    "show_comparison",
    "show_formatted",
    "show_result",
    "show_result_json",
    "show_scores",
    "show_scores_json",
    "show_trace",
]


def show_result(result: RunResult, question_set: str, *, keep_failed: bool = False) -> None:
    """The scores of a run, its counts, and where it is kept."""
    console = _console()
    shown = {label: tables for label, tables in result.scores.items() if label not in result.errors}
    unscored = bool(shown) and not any(map(_is_scored, chain.from_iterable(shown.values())))
    if unscored:
        echo(f"question set: {question_set}, which has no ground truths: nothing is scored")
    else:
        tables = score_tables(
            shown,
            title=f"question set: {question_set}",
            why=result.why,
            comparisons=result.comparisons(),
        )
        console.print(tables)
    for label, tally in result.tallies.items():
        for line in headlines(tally, keep_failed=keep_failed):
            console.print(f"{label}: {line}", markup=False)
    if result.directory is not None:
        console.print(f"Run directory: {result.directory}", markup=False)
        if any(tally.failed for tally in result.tallies.values()):
            echo(f"What failed: vqa-engine show {result.directory} --failed")
        if unscored:
            echo(f"The answers: vqa-engine show {result.directory}, or export --format csv")


def _is_scored(table: ScoreTable) -> bool:
    return bool(table.overall.count or not table.unscored)


def headlines(tally: Tally, *, keep_failed: bool = False) -> Iterator[str]:
    """What one adapter's scores leave out: questions without an answer, and why."""
    if tally.open:
        causes = {**tally.causes, "not asked": tally.unasked}
        why = ", ".join(f"{cause}: {count:,}" for cause, count in causes.items() if count)
        have, them = ("has", "it") if tally.open == 1 else ("have", "them")
        of = f"{tally.open:,} of {counted(tally.total, 'question')}"
        how = "the command without --keep-failed" if keep_failed else "the same command"
        yield f"{of} {have} no answer ({why}); run {how} to ask {them} again"
    if tally.degraded:
        were = "was" if tally.degraded == 1 else "were"
        yield f"{counted(tally.degraded, 'question')} {were} answered by a cheaper plan"
    if tally.places:
        shares = ", ".join(f"{count:,} at {name}" for name, count in tally.places.items())
        yield f"answered in {counted(len(tally.places), 'place')}: {shares}"


def show_result_json(result: RunResult) -> None:
    """One JSON object: scores, why by this metric, comparisons, counts, errors, directory."""
    print_json(
        {
            "event": "result",
            "directory": str(result.directory) if result.directory else None,
            "scores": result.scores,
            "why": result.why,
            "comparisons": result.comparisons(),
            "tallies": result.tallies,
            "errors": {label: str(error) for label, error in result.errors.items()},
            "failures": list(_failures(result)),
        }
    )


def show_scores(rescored: Rescored) -> None:
    """Score tables side by side, and how far probabilities can be trusted."""
    tables = score_tables(
        rescored.scores,
        why=rescored.why,
        comparisons=rescored.comparisons,
        reliability=True,
    )
    _console().print(tables)


def show_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Both models' means, and what differs; or all of it as one JSON object."""
    if as_json:
        print_json(comparison)
        return
    console = _console()
    for label, percent in (
        (comparison.first, comparison.first_percent),
        (comparison.second, comparison.second_percent),
    ):
        console.print(f"{label}: {percent:.2f} %", markup=False)
    console.print(comparison_table([comparison]))


def show_formatted(tables: Mapping[str, Sequence[ScoreTable]], form: str) -> None:
    """Score tables in a format of `vqa_engine.scoring.formats`."""
    wanted = next(one for one in FORMATS if one == form)
    echo(formatted(tables, wanted), nl=False)


def show_scores_json(tables: Mapping[str, Sequence[ScoreTable]]) -> None:
    """Score tables as one JSON object."""
    print_json(tables)


def show_answer(label: str, answer: Answer, *, as_json: bool, several: bool) -> None:
    """The answer alone, or with its adapter's name, or with all its facts."""
    if as_json:
        print_json({"adapter": label, **msgspec.to_builtins(answer)})
    else:
        echo(f"{label}: {answer.text}" if several else answer.text)


def _failures(result: RunResult) -> Iterator[dict[str, object]]:
    """Every question without an answer, and why."""
    for row in result.rows() if any(tally.failed for tally in result.tallies.values()) else ():
        if row.failure is not None:
            yield {
                "adapter": row.adapter,
                "question_id": row.question.question_id,
                "cause": row.failure.cause,
                "message": row.failure.message,
            }


def _console() -> Console:
    """Stdout; a file or a pipe is as wide as what is written to it."""
    console = PlainConsole()
    wide = not console.is_terminal and "COLUMNS" not in os.environ
    return PlainConsole(width=UNLIMITED) if wide else console


def show_trace(label: str, answer: Answer) -> None:
    """What the model was given, on stderr; the answer alone goes to stdout."""
    seen, counts = answer.trace or Trace(), answer.tokens
    length = len(seen.prompt_ids) or (counts and counts.prompt)
    known = f"{length:,} tokens" if length else "its number of tokens is not known"
    lines = [f"prompt, {known}:\n{seen.prompt}"]
    if not seen.prompt:
        lines = [f"this adapter does not show the prompt; {known}"]
    lines.append(f"image {_size(seen.image_size or answer.image_size)}, {_image(seen, counts)}")
    lines[-1] += f", pixels {' x '.join(map(str, seen.pixel_shape))}" if seen.pixel_shape else ""
    for line in lines:
        echo(f"{label}: {line}", err=True)


def _size(size: tuple[int, int] | None) -> str:
    return "of unknown size" if size is None else "{}x{}".format(*size)


def _image(seen: Trace, counts: TokenCounts | None) -> str:
    """How many of the prompt's tokens are the image's, as far as anybody says so."""
    if seen.image_positions is not None:
        start, count = seen.image_positions
        return f"{count:,} tokens from position {start:,} on"
    if counts is None or counts.image is None:
        return "its number of tokens is not known"
    return f"{counts.image:,} tokens"
