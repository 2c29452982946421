"""The report: what runs gave, as one page that needs no server and no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from vqa_engine.files import replace
from vqa_engine.reporting.collecting import collect
from vqa_engine.reporting.corpus import RIGHT, Corpus
from vqa_engine.reporting.page import Content, document
from vqa_engine.reporting.pictures import Gallery, Pictures
from vqa_engine.runs.opening import Run, opened
from vqa_engine.runs.rescoring import chosen_metrics
from vqa_engine.scoring import Metric, MetricLike

__all__ = ["FILE", "Gallery", "Pictures", "Run", "chosen", "make", "opened", "write"]

FILE = "report.html"
"""The report's name in a run directory."""


def write(
    runs: Sequence[Run],
    page: Path,
    *,
    metrics: Iterable[MetricLike] = (),
    pictures: Pictures = "beside",
    folders: Sequence[Path] = (),
) -> None:
    """Write the report of runs to a file, all or nothing.

    `metrics` are by default those that the first run was scored by; the first is the headline's.
    Pictures are shown `beside` the page by relative path, or as small copies in it (`embed`: a
    few hundred, those of failed and wrong answers first, and only from `folders`). Those of the
    built-in question set have no file, so they are embedded unless there are to be none.

    Raises:
        JournalError: a run cannot be read.
        ConfigurationError: the runs do not fit together, or a metric is unknown.
        OutputError: the file cannot be written.
    """
    gallery = Gallery(folders=tuple(folders))
    corpus = collect(runs, chosen(runs, metrics), gallery.key)
    text = document(make(corpus, gallery, page, pictures))
    replace(page, [text.encode()])


def chosen(runs: Sequence[Run], wanted: Iterable[MetricLike]) -> tuple[Metric, ...]:
    """The metrics wanted, or those of the first run."""
    return chosen_metrics(runs[0], wanted)[0]


def make(corpus: Corpus, gallery: Gallery, page: Path, pictures: Pictures) -> Content:
    """The content of a page in a file."""
    addresses: dict[str, str] = {}
    if pictures == "beside":
        addresses |= gallery.relative(corpus.pictures.values, page)
    if pictures != "none":
        keys = list(_of_interest(corpus))
        wanted = keys if pictures == "embed" else [key for key in keys if gallery.is_drawn(key)]
        addresses |= gallery.embedded(wanted)
    return Content(
        corpus=corpus,
        title=title(corpus),
        addresses=addresses,
        no_picture=_no_picture(pictures),
    )


def title(corpus: Corpus) -> str:
    """What the page calls itself: the question sets."""
    manifests = (one.run.manifest for one in corpus.contenders)
    names = dict.fromkeys(one.question_set for one in manifests if one)
    return ", ".join(names) or "Questions"


def _no_picture(pictures: Pictures) -> str:
    if pictures == "none":
        return "The report was made without pictures."
    if pictures == "embed":
        return "This picture is not among those embedded; `vqa-engine view` shows every one."
    return "No file beside this page has this picture; `vqa-engine view` may show it."


def _of_interest(corpus: Corpus) -> Iterator[str]:
    """The keys of pictures, those of questions without an answer or with a wrong one first."""
    failed, wrong, other = [], [], []
    causes = [one.columns["cause"] for one in corpus.contenders]
    scores = [one.scores() for one in corpus.contenders]
    for place, key in enumerate(corpus.pictures):
        if key is None:
            continue
        if any(column.at(place) is not None for column in causes):
            failed.append(key)
        elif any((column.at(place) or 0) < RIGHT for column in scores):
            wrong.append(key)
        else:
            other.append(key)
    yield from chain(failed, wrong, other)
