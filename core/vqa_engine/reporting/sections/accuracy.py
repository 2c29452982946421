"""Accuracies with their intervals: of all questions, and by type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vqa_engine.memory.budget import shown
from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.reporting.drawings import (
    gauge,
)
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.sections.parts import colour, link, named, noun, ranked
from vqa_engine.scoring import Score, ScoreTable
from vqa_engine.scoring.comparable import comparable

_MOST_TYPES = 18
"""Types that are shown at once; the others are behind a click."""


def accuracies(corpus: Corpus) -> Markup:
    """The headline's accuracies as a drawing, and all figures as a table."""
    if not corpus.contenders:
        return tag("h2", "No rows")
    note = (
        f"{corpus.metrics[0]}, with 95 % intervals clustered by image. Questions without an "
        "answer are not scored."
    )
    labels = [one.label for one in corpus.contenders]
    comparisons = " ".join(comparable(corpus.metrics, labels))
    return join(
        tag("h2", "Accuracy"),
        tag("p", note, class_="note"),
        tag("p", comparisons, class_="note") if comparisons else None,
        tag("ol", *(_standing(*one) for one in ranked(corpus)), class_="standing"),
        tag(
            "div",
            _table(corpus),
            class_="scroll",
            tabindex=0,
            role="group",
            aria_label="All figures",
        ),
    )


def types(corpus: Corpus) -> Markup | None:
    """The headline's accuracies by type of answer and of question."""
    tables = [one.tables[0] for one in corpus.contenders]
    groups = (
        ("By answer type", "kind", [table.by_answer_type for table in tables]),
        ("By question type", "type", [table.by_question_type for table in tables]),
    )
    shown_groups = [_group(*group) for group in groups if any(group[2])]
    if not shown_groups:
        return None
    return join(tag("h2", "Accuracy by type"), *shown_groups)


def _standing(number: int, one: Contender) -> Markup:
    overall = one.tables[0].overall
    if overall.count:
        figure = join(
            f"{overall.percent:.1f} % ", tag("small", f"{overall.low:.1f} – {overall.high:.1f}")
        )
    else:
        figure = join("– ", tag("small", "nothing scored"))
    return tag(
        "li",
        tag("div", named(number, one.label), tag("span", figure, class_="figure"), class_="line"),
        tag("div", gauge(overall), class_=colour(number)),
    )


def _table(corpus: Corpus) -> Markup:
    titles = [*corpus.metrics, "answered", "no answer", "degraded", "questions/s", "peak memory"]
    first = tag("th", "model", scope="col")
    heads = (tag("th", title, scope="col", class_="number") for title in titles)
    body = (_figures(*one) for one in ranked(corpus))
    return tag("table", tag("thead", tag("tr", first, *heads)), tag("tbody", *body))


def _figures(number: int, one: Contender) -> Markup:
    tally = one.tally
    failed = tag("a", f"{tally.failed:,}", href=link(show="failed", by=number))
    degraded = tag("a", f"{tally.degraded:,}", href=link(show="degraded", by=number))
    peaks = [figure for figure in one.columns["peak"].values if figure]
    whole = [figure for figure in one.columns["footprint"].values if figure]
    memory = shown(int(max(peaks or whole))) if peaks or whole else "–"
    cells = (
        *map(_score, one.tables),
        f"{tally.done - tally.failed:,}",
        failed if tally.failed else "0",
        degraded if tally.degraded else "0",
        f"{one.pace.rate:.1f}" if one.pace.rate else "–",
        join(memory, None if peaks or not whole else tag("small", "whole process")),
    )
    return tag(
        "tr",
        tag("th", named(number, one.label), scope="row"),
        *(tag("td", cell, class_="number") for cell in cells),
    )


def _score(table: ScoreTable) -> Markup:
    """The mean with its interval, the metric's other figures, or why there are none."""
    score = table.overall
    if not score.count:
        return join("–", tag("small", table.failure[:200]) if table.failure else None)
    figures = (
        tag("small", f"{name} {figure.value:,.2f}") for name, figure in table.figures.items()
    )
    interval = tag("small", f"{score.low:.1f} – {score.high:.1f}")
    return join(f"{score.percent:.2f} %", interval, *figures)


def _group(title: str, filter_: str, tables: Sequence[Mapping[str, Score]]) -> Markup:
    counts = {name: max(t[name].count for t in tables if name in t) for t in tables for name in t}
    names = sorted(counts, key=lambda name: (-counts[name], name))
    blocks = [_type(name, filter_, counts[name], tables) for name in names]
    more = blocks[_MOST_TYPES:]
    return join(
        tag("h3", title, class_="group"),
        tag("div", *blocks[:_MOST_TYPES], class_="types"),
        tag(
            "details",
            tag("summary", f"{noun(len(more), 'further type')}"),
            tag("div", *more, class_="types"),
        )
        if more
        else None,
    )


def _type(name: str, filter_: str, count: int, tables: Sequence[Mapping[str, Score]]) -> Markup:
    bars = (
        tag(
            "div",
            gauge(table[name], thin=True),
            tag("span", _short(table[name]), class_="value"),
            class_=f"bar {colour(number)}",
        )
        for number, table in enumerate(tables)
        if name in table
    )
    return tag(
        "div",
        tag(
            "p",
            tag("a", tag("bdi", name or "(empty)"), href=link(**{filter_: name})),
            tag("span", f"{count:,}", class_="count"),
            class_="head",
        ),
        *bars,
        class_="type",
    )


def _short(score: Score) -> str:
    return "–" if math.isnan(score.percent) else f"{score.percent:.1f}"
