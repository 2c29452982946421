"""What a run gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError, VqaEngineError
from vqa_engine.results import Row
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.runs.opening import Run, opened
from vqa_engine.runs.reading import Graded, graded
from vqa_engine.runs.rescoring import chosen_metrics, comparisons, scored
from vqa_engine.scoring import Metric, MetricLike, ScoreTable
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.report import as_text, score_tables

if TYPE_CHECKING:
    from pandas import DataFrame

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
    _salvage: bool = field(default=False, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every adapter ran and every question has an answer."""
        return not self.errors and all(tally.open == 0 for tally in self.tallies.values())

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Rows of one adapter, or of all, in the caller's question order; lazy."""
        if self._journal is not None:
            yield from self._journal.rows(adapter)
        elif self.directory is not None:
            with closing(open_journal(self.directory, salvage=self._salvage)) as journal:
                yield from journal.rows(adapter)

    def comparisons(self) -> tuple[Comparison, ...]:
        """Each further adapter compared with the first, by the first metric."""
        ran = {label: each for label, each in self.scores.items() if label not in self.errors}
        return tuple(comparisons(self.rows, ran, self._metrics[0]))

    def table(self) -> str:
        """The scores as a text table."""
        return as_text(score_tables(self.scores, why=self.why, comparisons=self.comparisons()))

    def __str__(self) -> str:
        return self.table()

    def accuracy(self, adapter: str | None = None) -> float:
        """Percent in the first metric, of an adapter by its label or of the only one.

        Raises:
            ConfigurationError: there is no adapter of this label, or there are several.
        """
        known = tuple(self.scores)
        label = known[0] if adapter is None and len(known) == 1 else adapter
        if label is None or label not in self.scores:
            asked = "Say whose accuracy" if label is None else f"This run has no adapter {label!r}"
            have = f"its adapters are {', '.join(known)}" if known else "nothing was answered yet"
            raise ConfigurationError(f"{asked}: {have}.")
        return self.scores[label][0].overall.percent

    def graded(self, adapter: str | None = None) -> Iterator[Graded]:
        """Rows with their scores (0..1) in each metric; lazy."""
        return graded(self.rows(adapter), self._metrics)

    def to_pandas(self, adapter: str | None = None) -> DataFrame:
        """The `records` as a frame.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ConfigurationError("to_pandas needs pandas: pip install pandas") from error
        return DataFrame(list(self.records(adapter)))

    def records(self, adapter: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows as flat dictionaries with a score for each metric, for pandas or polars; lazy.

        `pandas.DataFrame(result.records())` is a frame of all rows.
        """
        from vqa_engine.reporting.records import records

        return records(self.rows(adapter), self._metrics)

    def report(self, path: str | Path, *, pictures: Pictures = "beside") -> Path:
        """Write the run as one HTML file (`vqa_engine.reporting.write`), and return its path.

        Raises:
            OutputError: it cannot be written.
        """
        from vqa_engine import reporting

        with ExitStack() as ending:
            if self._journal is None:
                directories = [self.directory or Path()]
                runs = ending.enter_context(opened(directories, salvage=self._salvage))
            else:
                runs = (Run(name="", journal=self._journal),)
            folders = [Path.cwd()]
            reporting.write(
                runs, Path(path), metrics=self._metrics, pictures=pictures, folders=folders
            )
        return Path(path)

    def _repr_html_(self) -> str:
        """The scores and counts as a notebook shows them."""
        from vqa_engine.reporting.notebook import fragment

        return fragment(self.scores, self.tallies, self.errors)


def open_run(
    path: str | Path, metrics: Iterable[MetricLike] | None = None, *, salvage: bool = False
) -> RunResult:
    """The result of a run on disk, scored again; no model is loaded.

    With `salvage`, what cannot be read of a damaged run is left out, with a warning.

    Raises:
        RunError: the directory holds no run, or it cannot be read.
        ConfigurationError: a metric is unknown.
    """
    directory = Path(path)
    with opened([directory], salvage=salvage) as (run,):
        chosen, why = chosen_metrics(run, metrics or ())
        labels = run.journal.labels()
        tallies = {label: run.journal.tally(label, run.question_count) for label in labels}
        scores = scored(run, chosen)
    return RunResult(
        directory=directory,
        scores=scores,
        tallies=tallies,
        errors={},
        why=why,
        metrics=chosen,
        salvage=salvage,
    )
