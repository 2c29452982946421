"""A run's result as a fragment of HTML that a notebook shows: no script, no style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vqa_engine.errors import VqaEngineError
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.runs.journal import Tally
from vqa_engine.scoring import Score, ScoreTable

_RIGHT = "text-align: right; white-space: nowrap"
_LEFT = "text-align: left"


def fragment(
    scores: Mapping[str, Sequence[ScoreTable]],
    tallies: Mapping[str, Tally],
    errors: Mapping[str, VqaEngineError],
) -> str:
    """A table with a line for each adapter: accuracies with intervals, and counts."""
    metrics = [table.metric for table in next(iter(scores.values()), ())]
    titles = ("adapter", *metrics, "answered", "no answer", "degraded")
    head = (tag("th", title, style=_RIGHT if at else _LEFT) for at, title in enumerate(titles))
    body = (_line(label, scores[label], tallies[label], errors.get(label)) for label in scores)
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))


def _line(
    label: str, tables: Sequence[ScoreTable], tally: Tally, error: VqaEngineError | None
) -> Markup:
    name = tag("th", label, style=_LEFT, scope="row")
    if error is not None and not tally.done:
        return tag("tr", name, tag("td", str(error), colspan=len(tables) + 3, style=_LEFT))
    cells = (
        *(_score(table.overall) for table in tables),
        f"{tally.done - tally.failed:,}",
        f"{tally.failed:,}",
        f"{tally.degraded:,}",
    )
    return tag("tr", name, *(tag("td", cell, style=_RIGHT) for cell in cells))


def _score(score: Score) -> Markup:
    if not score.count:
        return join("–")
    return join(f"{score.percent:.2f} % ", tag("small", f"({score.low:.1f} – {score.high:.1f})"))
