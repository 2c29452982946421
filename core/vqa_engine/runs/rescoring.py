"""Scores of a run that is over, from its journal: no model, no question file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import ConfigurationError, ScoringError
from vqa_engine.results import Row
from vqa_engine.runs.account import said_in, score
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.opening import Run, opened
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable, default_metric, metrics
from vqa_engine.scoring.choice import stated
from vqa_engine.scoring.comparison import Answered, Comparison, compare
from vqa_engine.scoring.making import MetricLike
from vqa_engine.scoring.metric import together

log = logging.getLogger(__name__)


@frozen
class Rescored:
    """The scores of every adapter of a run, by label.

    `why` says why this metric, if none was named. `comparisons` are of each further adapter
    with the first, by the first metric, where it scored both.
    """

    scores: Mapping[str, tuple[ScoreTable, ...]]
    why: str = ""
    comparisons: tuple[Comparison, ...] = ()


def score_run(
    directory: Path, wanted: Iterable[MetricLike] = (), *, salvage: bool = False
) -> Rescored:
    """Score a run again, by the metrics wanted or those it was scored by.

    With `salvage`, rows that cannot be read are left out, and a warning counts them.

    Raises:
        RunError: the directory holds no run.
        JournalError: its journal cannot be read.
        ConfigurationError: there is no such metric.
    """
    with opened([directory], salvage=salvage) as (run,):
        return _rescored(run, *chosen_metrics(run, wanted))


def _rescored(run: Run, chosen: Sequence[Metric], why: str) -> Rescored:
    scores = scored(run, chosen)
    return Rescored(scores, why, tuple(comparisons(run.journal.rows, scores, chosen[0])))


def scored(run: Run, chosen: Sequence[Metric]) -> Mapping[str, tuple[ScoreTable, ...]]:
    """The tables of every adapter that has rows, by label."""
    return {label: _scores(run.journal, label, chosen) for label in run.journal.labels()}


def comparisons(
    rows: Callable[[str], Iterable[Row]],
    scores: Mapping[str, tuple[ScoreTable, ...]],
    metric: Metric,
) -> Iterator[Comparison]:
    """Each further adapter compared with the first, of those that have a score.

    One that cannot be compared is left out, and a warning says why.
    """
    first, *others = [label for label, each in scores.items() if each[0].overall.count] or [""]
    for label in others:
        sides = [(one, answered(rows(one))) for one in (first, label)]
        try:
            yield compare(sides[0], sides[1], metric)
        except ScoringError as error:
            log.warning("%s", error)


def answered(rows: Iterable[Row]) -> Iterator[Answered]:
    """Each row's question with its answer."""
    return (
        (row.question, stated(row.answer, row.question) if row.answer else None) for row in rows
    )


def score_runs(
    directories: Sequence[Path], wanted: Iterable[MetricLike] = (), *, salvage: bool = False
) -> Rescored:
    """Score several runs over the same questions together; adapters of one label get the
    name of their run in front. With `salvage`, as `score_run`.

    Raises:
        ScoringError: the runs are over other questions.
        RunError, JournalError, ConfigurationError: as `score_run` raises.
    """
    with opened(list(dict.fromkeys(directories)), salvage=salvage) as runs:
        chosen, why = chosen_metrics(runs[0], wanted)
        if len(runs) == 1:
            return _rescored(runs[0], chosen, why)
        _check_same_questions(runs)
        homes = _named(runs)
        scores = {name: _scores(run.journal, label, chosen) for name, (run, label) in homes.items()}

        def rows(name: str) -> Iterator[Row]:
            run, label = homes[name]
            return run.journal.rows(label)

        return Rescored(scores, why, tuple(comparisons(rows, scores, chosen[0])))


def _named(runs: Sequence[Run]) -> Mapping[str, tuple[Run, str]]:
    """Each adapter of each run, by its label; where several have it, with the run in front."""
    own = [(run, label) for run in runs for label in run.journal.labels()]
    often, called = Counter(label for _, label in own), Counter(run.name for run in runs)
    names = (
        label if often[label] == 1 else f"{_called(run, called[run.name])}/{label}"
        for run, label in own
    )
    return dict(zip(names, own, strict=True))


def _called(run: Run, often: int) -> str:
    return run.name if often == 1 else str(run.directory)


def _check_same_questions(runs: Sequence[Run]) -> None:
    first, *others = runs
    for other in others:
        digests = {first.digest, other.digest}
        if len(digests) == 1 and None not in digests:
            continue
        are = "may be" if None in digests else "are"
        raise ScoringError(
            f"{first.directory} and {other.directory} {are} runs over other questions, so their "
            "scores cannot be in one table. Score them one by one."
        )


def chosen_metrics(run: Run, wanted: Iterable[MetricLike]) -> tuple[tuple[Metric, ...], str]:
    """The metrics wanted; else those that the run has recorded, such as its task's; else the
    default for its questions. With the reason, unless they were named."""
    if named := metrics(wanted):
        return named, ""
    default = default_metric(row.question for row in run.journal.rows())
    if run.metrics in ((), (default.metric.name,)):
        return (default.metric,), default.why
    try:
        return metrics(run.metrics, default=True), "the run was scored so"
    except ConfigurationError as error:  # a program's own function, or a package that is gone
        log.warning("scored by the default metric: %s", error)
        return (default.metric,), default.why


def _scores(journal: Journal, label: str, chosen: Sequence[Metric]) -> tuple[ScoreTable, ...]:
    boards = tuple(map(Scoreboard, chosen))
    for row in together(journal.rows(label), chosen, said_in):
        score(row, boards)
    return tuple(board.snapshot() for board in boards)
