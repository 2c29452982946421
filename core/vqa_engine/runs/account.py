"""One adapter's account of a run: journal rows, scoreboards and counts kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vqa_engine.adapter import Question, QuestionId
from vqa_engine.observer import Progress
from vqa_engine.results import MemoryEvent, Row
from vqa_engine.runs import stored
from vqa_engine.runs.database import WRITING, unusable
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable
from vqa_engine.scoring.choice import stated
from vqa_engine.scoring.metric import Asked, together


class Account:
    """Adds rows as they come, and those of an earlier process at the start.

    `total` is how many questions there are. A question that failed in an earlier process is
    asked again, and counts only from then on; with `keep_failed` it is left as it is.
    """

    def __init__(
        self,
        label: str,
        journal: Journal,
        metrics: Sequence[Metric],
        total: int,
        *,
        keep_failed: bool = False,
    ) -> None:
        self.label = label
        self._journal = journal
        self._boards = tuple(Scoreboard(metric) for metric in metrics)
        self._total = total
        self._done = self._failed = self._degraded = 0
        self._settled = bytearray(total)  # a byte a question: ids would take a hundred
        placed = journal.placed_rows(label, failed=keep_failed)
        for place, row in together(placed, metrics, lambda pair: said_in(pair[1])):
            if place >= total:
                what = f"The journal has a question {place} of {total}"
                raise unusable(journal.path, what, WRITING.damaged)
            self._count(row)
            self._settled[place] = True
        self._resumed, self._failed_before = self._done, self._failed
        self.last_failure = ""
        self._answered_before = self._done > self._failed
        self._suspects = set(journal.begun(label))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return self._done >= self._total

    @property
    def failed_now(self) -> int:
        """How many questions have failed in this process; `last_failure` says why the last did."""
        return self._failed - self._failed_before

    @property
    def answered_before(self) -> bool:
        """Whether an earlier process got an answer from this adapter."""
        return self._answered_before

    @property
    def suspects(self) -> int:
        """How many questions are still open that were in flight when an earlier process died."""
        return len(self._suspects)

    def has(self, place: int) -> bool:
        """Whether the question at this place of the set (from 0) was settled before."""
        return bool(self._settled[place])

    def deaths(self, question: Question) -> int:
        """How often the whole process died while this question was in flight."""
        return self._journal.tries(self.label, question.question_id)

    def begin(self, question_ids: Iterable[QuestionId]) -> None:
        """Commit what was added, and note that these questions are in flight."""
        self._journal.begin(self.label, *question_ids)

    def commit(self) -> None:
        """Commit what was added."""
        self._journal.flush()

    def abandon(self) -> None:
        """Note that what is still in flight was not asked after all."""
        self._journal.abandon(self.label)

    def add(self, position: int, row: Row, events: tuple[MemoryEvent, ...] = ()) -> Row:
        """Record a row; the one that was stored comes back (`Journal.record`).

        `position` is the question's place in the caller's order, from 0.
        """
        self._suspects.discard(stored.key(row.question.question_id))
        row = self._journal.record(position, row, events)
        if row.failure is not None:
            self.last_failure = row.failure.message
        self._count(row)
        return row

    def scores(self) -> tuple[ScoreTable, ...]:
        """The tables of all metrics, with the rows so far."""
        return tuple(board.snapshot() for board in self._boards)

    def tally(self) -> Tally:
        """The counts of all rows, those of earlier processes that failed included."""
        return self._journal.tally(self.label, self._total)

    def progress(self) -> Progress:
        """How far this adapter's run is."""
        return Progress(
            done=self._done,
            total=self._total,
            resumed=self._resumed,
            failed=self._failed,
            degraded=self._degraded,
            board=self._boards[0],
        )

    def _count(self, row: Row) -> None:
        self._done += 1
        self._degraded += row.degraded
        self._failed += row.answer is None
        score(row, self._boards)


def said_in(row: Row) -> Asked | None:
    """What a metric grades of a row: what was answered, and its question."""
    return (stated(row.answer, row.question), row.question) if row.answer else None


def score(row: Row, boards: Iterable[Scoreboard]) -> None:
    """Add a row to scoreboards: its answer, or that it has none."""
    for board in boards:
        if row.answer is None:
            board.add_error(row.question)
        else:
            board.add(stated(row.answer, row.question), row.question, row.answer.probability)
