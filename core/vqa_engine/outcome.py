"""What a run gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from vqa_engine.errors import VqaEngineError
from vqa_engine.results import Row
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.runs.rescoring import comparisons
from vqa_engine.scoring import Metric, ScoreTable
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.report import as_text, score_tables

if TYPE_CHECKING:
    from vqa_engine.reporting import Pictures


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

    def records(self, adapter: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows as flat dictionaries with a score for each metric, for pandas or polars; lazy.

        `pandas.DataFrame(result.records())` is a frame of all rows.
        """
        from vqa_engine.reporting.records import records

        return records(self.rows(adapter), self._metrics)

    def report(self, path: str | Path, *, pictures: Pictures = "beside") -> Path:
        """Write the run as one HTML file (`vqa_engine.reporting.write`), and return its path.

        Raises:
            ConfigurationError: it cannot be written.
        """
        from vqa_engine import reporting

        with ExitStack() as ending:
            if self._journal is None:
                runs = ending.enter_context(reporting.opened([self.directory or Path()]))
            else:
                runs = (reporting.Run(name="", journal=self._journal),)
            folders = [Path.cwd()]
            reporting.write(
                runs, Path(path), metrics=self._metrics, pictures=pictures, folders=folders
            )
        return Path(path)

    def _repr_html_(self) -> str:
        """The scores and counts as a notebook shows them."""
        from vqa_engine.reporting.notebook import fragment

        return fragment(self.scores, self.tallies, self.errors)
