"""What a run gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from vqa_engine.errors import VqaEngineError
from vqa_engine.results import Row
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.runs.rescoring import comparisons
from vqa_engine.scoring import Metric, ScoreTable
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.report import as_text, score_tables


@frozen(kw_only=True)
class RunResult:
    """What a run gave: scores and counts for each adapter, by label, and every row.

    `directory` is where it is kept, None for a run that was given no output. `errors`
    are the adapters that could not be run at all. `why` says why the engine chose this
    metric, empty if it was named.
    """

    directory: Path | None
    scores: Mapping[str, tuple[ScoreTable, ...]]
    tallies: Mapping[str, Tally]
    errors: Mapping[str, VqaEngineError]
    why: str = ""
    _metrics: tuple[Metric, ...] = field(default=(), repr=False)
    _journal: Journal | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every adapter ran and every question has an answer."""
        return not self.errors and all(tally.open == 0 for tally in self.tallies.values())

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Rows of one adapter, or of all, in the caller's question order; lazy."""
        if self._journal is not None:
            yield from self._journal.rows(adapter)
        elif self.directory is not None:
            journal = open_journal(self.directory)
            try:
                yield from journal.rows(adapter)
            finally:
                journal.close()

    def comparisons(self) -> tuple[Comparison, ...]:
        """Each further adapter compared with the first, by the first metric."""
        ran = {label: each for label, each in self.scores.items() if label not in self.errors}
        return tuple(comparisons(self.rows, ran, self._metrics[0]))

    def table(self) -> str:
        """The scores as a text table."""
        return as_text(score_tables(self.scores, why=self.why, comparisons=self.comparisons()))
