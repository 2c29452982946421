"""Scores of a run that is over, from its journal: no model, no question file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import ConfigurationError, RunError, ScoringError
from vqa_engine.results import Row
from vqa_engine.runs.account import said_in, score
from vqa_engine.runs.directory import open_journal, read_manifest
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable, default_metric, metrics
from vqa_engine.scoring.choice import stated
from vqa_engine.scoring.comparison import Answered, Comparison, compare
from vqa_engine.scoring.metric import together
from vqa_engine.scoring.registry import MetricLike

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
    with closing(open_journal(directory, salvage=salvage)) as journal:
        chosen, why = chosen_metrics(journal, wanted, _recorded(directory, salvage))
        warn_of_unread(journal)
        scores = {label: _scores(journal, label, chosen) for label in journal.labels()}
        return Rescored(scores, why, tuple(comparisons(journal.rows, scores, chosen[0])))


def warn_of_unread(journal: Journal) -> None:
    """Log how many rows a damaged journal lacks, where it is salvaged."""
    for _ in journal.rows() if journal.salvages else ():
        pass  # reading them counts them
    if journal.unread:
        log.warning(
            "%s is damaged: %d of its rows cannot be read and are left out",
            *(journal.path, journal.unread),
        )


def _recorded(directory: Path, salvage: bool) -> tuple[str, ...]:
    try:
        return read_manifest(directory).metrics
    except RunError as error:
        if not salvage:
            raise
        log.warning("%s", error)
        return ()


def comparisons(
    rows: Callable[[str], Iterable[Row]],
    scores: Mapping[str, tuple[ScoreTable, ...]],
    metric: Metric,
) -> Iterator[Comparison]:
    """Each further adapter compared with the first, of those that have a score."""
    first, *others = [label for label, each in scores.items() if each[0].overall.count] or [""]
    for label in others:
        sides = [(one, answered(rows(one))) for one in (first, label)]
        yield compare(sides[0], sides[1], metric)


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
    directories = list(dict.fromkeys(directories))
    if len(directories) == 1:
        return score_run(directories[0], wanted, salvage=salvage)
    _check_same_questions(directories)
    with closing(open_journal(directories[0], salvage=salvage)) as journal:
        recorded = read_manifest(directories[0]).metrics
        chosen, why = chosen_metrics(journal, wanted, recorded)
    parts = [score_run(one, chosen, salvage=salvage).scores for one in directories]
    often = Counter(label for part in parts for label in part)
    called = Counter(one.name for one in directories)
    merged, homes = {}, {}
    for directory, part in zip(directories, parts, strict=True):
        for label, tables in part.items():
            run = directory.name if called[directory.name] == 1 else directory
            name = f"{run}/{label}" if often[label] > 1 else label
            merged[name], homes[name] = tables, (directory, label)

    def rows(name: str) -> Iterator[Row]:
        directory, label = homes[name]
        with closing(open_journal(directory, salvage=salvage)) as journal:
            yield from journal.rows(label)

    return Rescored(merged, why, tuple(comparisons(rows, merged, chosen[0])))


def _check_same_questions(directories: Sequence[Path]) -> None:
    first, *others = directories
    digest = read_manifest(first).question_digest
    for other in others:
        if read_manifest(other).question_digest != digest:
            raise ScoringError(
                f"{first} and {other} are runs over other questions, so their scores cannot be "
                "in one table. Score them one by one."
            )


def chosen_metrics(
    journal: Journal, wanted: Iterable[MetricLike], recorded: Sequence[str] = ()
) -> tuple[tuple[Metric, ...], str]:
    """The metrics wanted; else those that the run has recorded, such as its task's; else the
    default for its questions. With the reason, unless they were named."""
    if named := metrics(wanted):
        return named, ""
    default = default_metric(row.question for row in journal.rows())
    if not recorded or default.metric.name in recorded:
        return (default.metric,), default.why
    try:
        return metrics(recorded), "the run was scored so"
    except ConfigurationError as error:  # a program's own function, or a package that is gone
        log.warning("scored by the default metric: %s", error)
        return (default.metric,), default.why


def _scores(journal: Journal, label: str, chosen: Sequence[Metric]) -> tuple[ScoreTable, ...]:
    boards = tuple(map(Scoreboard, chosen))
    for row in together(journal.rows(label), chosen, said_in):
        score(row, boards)
    return tuple(board.snapshot() for board in boards)
