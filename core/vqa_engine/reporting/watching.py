"""How far a run is, looked at from outside: nothing in its directory is changed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import psutil
from attrs import define, field, frozen

from vqa_engine.errors import RunError
from vqa_engine.reporting import chosen
from vqa_engine.results import Row
from vqa_engine.runs import journal
from vqa_engine.runs.account import score
from vqa_engine.runs.journal import Tally
from vqa_engine.runs.opening import Run, opened
from vqa_engine.runs.pace import Pace
from vqa_engine.runs.timeline import Summary, summarise
from vqa_engine.scoring import Metric, MetricLike, Score, Scoreboard

State = Literal["running", "finished", "unfinished"]
"""`unfinished` is a run that nobody works on and that has questions without a row."""

_LOCK = "lock"


@frozen(kw_only=True)
class Progress:
    """One adapter of a run: counts, questions a second, memory, and its score.

    `pace` is over all its questions, None where nothing is known. `in_flight` are the
    questions that it is being asked now. `score` is None where none was asked for.
    """

    label: str
    tally: Tally
    pace: float | None
    in_flight: int
    memory: Summary
    score: Score | None

    @property
    def left(self) -> float | None:
        """Seconds until all are asked, at this pace; None where nothing is known."""
        return self.tally.unasked / self.pace if self.pace else None


@frozen(kw_only=True)
class Watched:
    """A run as it is now. `unread` rows of it are damaged, and count as not asked."""

    directory: Path
    state: State
    question_set: str
    unread: int
    adapters: tuple[Progress, ...]


@define
class _Clock:
    """Times and scores rows while they pass by."""

    boards: Sequence[Scoreboard]
    pace: Pace = field(factory=Pace)

    def seen(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.pace.add(row.place, row.seconds)
            score(row, self.boards)
            yield row


def look(directory: Path, metrics: Iterable[MetricLike] | None = None) -> Watched:
    """The state of a run, with its scores if metrics are given; that takes several times as long.

    Of several metrics the first counts; of none, what fits the run's questions. What cannot be
    read of a damaged run is left out, with a warning.

    Raises:
        RunError: the directory holds no run.
        JournalError: nothing of its journal can be read.
    """
    try:
        return _look(directory, metrics, salvage=False)
    except RunError:
        return _look(directory, metrics, salvage=True)


def _look(directory: Path, metrics: Iterable[MetricLike] | None, *, salvage: bool) -> Watched:
    with opened([directory], salvage=salvage) as (run,):
        metric = None if metrics is None else chosen([run], metrics)[0]
        adapters = tuple(_progress(run, label, metric) for label in run.labels)
        asked = run.manifest and all(one.tally.unasked == 0 for one in adapters)
        held = is_held(directory)
        state: State = "running" if held else "finished" if asked else "unfinished"
        name = run.manifest.question_set if run.manifest else ""
        return Watched(
            directory=directory,
            state=state,
            question_set=name,
            unread=run.journal.unread,
            adapters=adapters,
        )


def found(folder: Path) -> list[Path]:
    """The run directories under a folder, itself included, those written last first.

    Links are not followed, and nothing inside a run is searched.

    Raises:
        RunError: the folder cannot be read.
    """
    runs = []
    for root, inner, names in os.walk(folder, onerror=_unreadable):
        if journal.FILE in names:
            runs.append(Path(root))
            inner.clear()
    return sorted(runs, key=_written, reverse=True)


def is_held(directory: Path) -> bool:
    """Whether a process works on the run.

    The lock file names the process that held it last. The lock itself is tried only while a
    process of that number lives, so that a look never keeps a run from starting.
    """
    try:
        lock = os.open(
            directory / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        )
    except OSError:
        return False
    try:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        if not owner.isdecimal() or len(owner) > 9 or not psutil.pid_exists(int(owner)):
            return False
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a pipe or a device, in a directory that somebody else made
        return False
    finally:
        os.close(lock)
    return False


def _progress(run: Run, label: str, metric: Metric | None) -> Progress:
    boards = [Scoreboard(metric)] if metric else []
    clock = _Clock(boards)
    memory = summarise(clock.seen(run.journal.rows(label)), run.journal.events(label))
    return Progress(
        label=label,
        tally=run.journal.tally(label, run.question_count),
        pace=clock.pace.rate,
        in_flight=len(run.journal.begun(label)),
        memory=memory,
        score=boards[0].snapshot().overall if boards else None,
    )


def _written(directory: Path) -> float:
    """When the journal was written last, in seconds since the epoch."""
    files = (directory / journal.FILE, directory / f"{journal.FILE}-wal")
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _unreadable(error: OSError) -> None:
    raise RunError(Path(error.filename), f"{error.filename} cannot be read: {error.strerror}.")
