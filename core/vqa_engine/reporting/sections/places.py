"""What each place of a run did, where a run had several."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from attrs import define, field

from vqa_engine.memory.budget import shown
from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.sections.parts import link, named, ranked
from vqa_engine.scoring.scoreboard import score_of
from vqa_engine.scoring.statistics import Moments

_TITLES = ("accuracy", "answered", "no answer", "degraded", "questions/s", "peak memory")


@define
class _Share:
    """What one place did: its scores by image, counts, milliseconds and bytes."""

    done: int = 0
    failed: int = 0
    degraded: int = 0
    time: float = 0.0
    peak: float = 0.0
    moments: Moments = field(factory=Moments)
    _clusters: dict[Hashable, tuple[float, int]] = field(factory=dict)

    def score(self, cluster: Hashable, score: float) -> None:
        """Take in the score of one answer."""
        total, count = self._clusters.get(cluster, (0.0, 0))
        self.moments.add(score, total, count)
        self._clusters[cluster] = total + score, count + 1


def places(corpus: Corpus) -> Markup | None:
    """Accuracy, errors, speed and memory by place, of the contenders that had several."""
    found = {number: _shares(one, corpus) for number, one in ranked(corpus)}
    rows = [
        _row(number, corpus.contenders[number], name, share)
        for number, shares in found.items()
        if len(shares) > 1
        for name, share in sorted(shares.items())
    ]
    if not rows:
        return None
    heads = (tag("th", title, scope="col", class_="number") for title in _TITLES)
    names = (tag("th", title, scope="col") for title in ("model", "place"))
    note = (
        "Which machine or device answered. The questions differ from place to place, so a "
        "difference in accuracy is no verdict on a place unless the intervals are far apart."
    )
    return join(
        tag("h2", "By place"),
        tag("p", note, class_="note"),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", *names, *heads)), tag("tbody", *rows)),
            class_="scroll",
            tabindex=0,
            role="group",
            aria_label="By place",
        ),
    )


def _shares(one: Contender, corpus: Corpus) -> Mapping[str, _Share]:
    """What each place did; that of rows without a place is left out."""
    if not any(one.columns["place"].values):
        return {}
    names = ("place", "seconds", "cause", "degraded", "peak", "footprint")
    columns = (one.columns[name] for name in names)
    shares: dict[str, _Share] = {}
    for place, time, cause, degraded, peak, footprint, score, cluster in zip(
        *columns, one.scores(), corpus.clusters.codes, strict=True
    ):
        if place is None:
            continue
        share = shares.setdefault(place, _Share())
        share.done += 1
        share.failed += cause is not None
        share.degraded += degraded is not None
        share.time += time
        share.peak = max(share.peak, peak or footprint or 0)
        if score is not None:
            share.score(cluster, score)
    return shares


def _row(number: int, one: Contender, name: str, share: _Share) -> Markup:
    def linked(count: int, show: str) -> str:
        to = link(show=show, by=number, place=name)
        return tag("a", f"{count:,}", href=to) if count else "0"

    cells = (
        _accuracy(share.moments),
        f"{share.done - share.failed:,}",
        linked(share.failed, "failed"),
        linked(share.degraded, "degraded"),
        f"{1000 * share.done / share.time:.1f}" if share.time else "–",
        shown(int(share.peak)) if share.peak else "–",
    )
    return tag(
        "tr",
        tag("th", named(number, one.label), scope="row"),
        tag("td", tag("a", tag("bdi", name), href=link(by=number, place=name)), class_="short"),
        *(tag("td", cell, class_="number") for cell in cells),
    )


def _accuracy(moments: Moments) -> Markup:
    if not moments.count:
        return join("–")
    score = score_of(moments)
    return join(f"{score.percent:.2f} %", tag("small", f"{score.low:.1f} – {score.high:.1f}"))
