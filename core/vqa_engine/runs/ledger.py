"""One adapter's account of a run: journal rows, scoreboards and counts kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vqa_engine.adapter import Question
from vqa_engine.observer import Progress
from vqa_engine.results import MemoryEvent, Row
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import Metric, Scoreboard, ScoreTable


class Ledger:
    """Adds rows as they come, and those of an earlier process at the start.

    `total` is how many questions there are.
    """

    def __init__(self, label: str, journal: Journal, metrics: Sequence[Metric], total: int) -> None:
        self.label = label
        self._journal = journal
        self._boards = tuple(Scoreboard(metric) for metric in metrics)
        self._total = total
        self._done = self._failed = self._degraded = 0
        for row in journal.rows(label):
            self._count(row)
        self._resumed = self._done
        self._suspects = set(journal.begun(label))

    @property
    def finished(self) -> bool:
        """Whether every question is through."""
        return self._done >= self._total

    def has(self, question: Question) -> bool:
        """Whether an earlier process is through with this question."""
        return self._resumed > 0 and self._journal.has(self.label, question.question_id)

    def deaths(self, question: Question) -> int:
        """How often the whole process died while this question was in flight."""
        return self._journal.tries(self.label, question.question_id)

    @property
    def suspects(self) -> int:
        """How many questions are still open that were in flight when an earlier process died."""
        return len(self._suspects)

    def begin(self, questions: Iterable[Question]) -> None:
        """Note that the questions are in flight."""
        self._journal.begin(self.label, *(question.question_id for question in questions))

    def abandon(self) -> None:
        """Note that what is still in flight was not asked after all."""
        self._journal.abandon(self.label)

    def add(self, position: int, row: Row, events: tuple[MemoryEvent, ...]) -> None:
        """Take a row; `position` is the question's place in the caller's order."""
        self._journal.record(position, row, events)
        self._suspects.discard(row.question.question_id)
        self._count(row)

    def scores(self) -> tuple[ScoreTable, ...]:
        """The tables of all metrics as they stand."""
        return tuple(board.snapshot() for board in self._boards)

    def progress(self) -> Progress:
        """Where this adapter's run stands."""
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
        if row.answer is None:
            self._failed += 1
        for board in self._boards:
            if row.answer is None:
                board.add_error(row.question)
            else:
                board.add(row.answer.text, row.question)
