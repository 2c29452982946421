"""The parts of a report above its rows; each is complete without a script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from vqa_engine.memory.budget import shown
from vqa_engine.reporting.corpus import RIGHT, Contender, Corpus
from vqa_engine.reporting.course import Course, Point
from vqa_engine.reporting.drawings import (
    fastest,
    gauge,
    highest,
    memory_chart,
    pace_chart,
    split,
)
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.pairs import Pair, pairs
from vqa_engine.runs.manifest import Manifest
from vqa_engine.scoring import Score, ScoreTable

COLOURS = 6
"""Colours that the style sheet has for contenders."""

MOST_TYPES = 18
"""Types that are shown at once; the others are behind a click."""

MOST_PAIRS = 10
"""Pairs of contenders that are compared; five contenders have ten."""


def card(name: str, content: Markup) -> Markup:
    """A part of the page, that `head` links to."""
    return tag("section", content, class_="card", id=anchor(name), aria_label=name)


def anchor(name: str) -> str:
    """The id of the part of this name."""
    return name.lower().replace(" ", "-")


def head(corpus: Corpus, title: str, parts: Sequence[str]) -> Markup:
    """What was run, in a line, and links to the parts of the page."""
    names = {one.run.manifest.vqa_engine for one in corpus.contenders if one.run.manifest}
    made = f"vqa-engine {', '.join(sorted(names))}" if names else "vqa-engine"
    facts = (
        noun(len(corpus), "question"),
        noun(len(corpus.contenders), "model"),
        ", ".join(sorted({one.run.name for one in corpus.contenders})),
    )
    return tag(
        "header",
        tag("p", f"{made} report", class_="eyebrow"),
        tag("h1", title, dir="auto"),
        tag("p", " · ".join(filter(None, facts)), class_="lead", dir="auto"),
        tag(
            "nav",
            *(tag("a", part, href=f"#{anchor(part)}") for part in parts),
            aria_label="Parts of the page",
        ),
        class_="wide top",
    )


def warnings(corpus: Corpus) -> Iterator[Markup]:
    """What a reader has to know before the figures."""
    digests = {one.run.manifest.question_digest for one in corpus.contenders if one.run.manifest}
    if len(digests) > 1:
        yield _alert(
            "These runs are over different question sets. The accuracies are each over their own "
            "questions; the comparison by question is over those that both were asked."
        )
    for one in corpus.contenders:
        if one.tally.unasked:
            yield _alert(
                f"{one.label}: {noun(one.tally.unasked, 'question')} of {one.tally.total:,} not "
                "asked so far. The same command continues the run."
            )


def accuracies(corpus: Corpus) -> Markup:
    """The headline's accuracies as a drawing, and all figures as a table."""
    if not corpus.contenders:
        return tag("h2", "No rows")
    metric = corpus.metrics[0]
    return join(
        tag("h2", "Accuracy"),
        tag(
            "p",
            f"{metric}, with 95 % intervals. Questions without an answer are not scored.",
            class_="note",
        ),
        tag("ol", *(_standing(*one) for one in _ranked(corpus)), class_="standing"),
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


def comparisons(corpus: Corpus) -> Markup | None:
    """Every two contenders, question by question."""
    found = [pair for pair in pairs(corpus.contenders) if pair.count]
    if not found:
        return None
    note = (
        f"By {corpus.metrics[0]}, over the questions that both have a score for. An answer counts "
        f"as right from {RIGHT:.0%} on. Each figure is a link to its rows."
    )
    hidden = len(found) - MOST_PAIRS
    return join(
        tag("h2", "Question by question"),
        tag("p", note, class_="note"),
        tag("div", *(_pair(pair, corpus) for pair in found[:MOST_PAIRS]), class_="pairs"),
        tag("p", f"{noun(hidden, 'further pair')} not shown.", class_="note")
        if hidden > 0
        else None,
    )


def errors(corpus: Corpus) -> Markup | None:
    """How many questions have no answer, by contender and cause."""
    rows = [
        _cause(number, one, cause, count)
        for number, one in enumerate(corpus.contenders)
        for cause, count in one.tally.causes.items()
    ]
    if not rows:
        return None
    titles = tag(
        "tr",
        *(tag("th", name, scope="col") for name in ("model", "cause")),
        tag("th", "questions", scope="col", class_="number"),
        tag("th", "first message", scope="col"),
    )
    return join(
        tag("h2", "Questions without an answer"),
        tag("p", "They are counted apart and have no part in any score.", class_="note"),
        tag(
            "div",
            tag("table", tag("thead", titles), tag("tbody", *rows)),
            class_="scroll",
            tabindex=0,
            role="group",
            aria_label="Questions without an answer",
        ),
    )


def courses(corpus: Corpus, found: Sequence[Course]) -> Markup | None:
    """Speed and memory over the run, a pair of charts for each contender."""
    drawn = [
        _course(number, one, course, len(corpus))
        for number, (one, course) in enumerate(zip(corpus.contenders, found, strict=True))
        if one.tally.done
    ]
    if not drawn:
        return None
    note = "Over the questions in the order of the set. A click on a chart filters the rows."
    return join(
        tag("h2", "Memory and speed over the run"),
        tag("p", note, class_="note"),
        tag("div", *drawn, class_="courses"),
    )


def setup(corpus: Corpus) -> Markup | None:
    """What decided the answers, from the manifests."""
    manifests = {one.run.name: one.run.manifest for one in corpus.contenders if one.run.manifest}
    if not manifests:
        return None
    return join(
        tag("h2", "How it was run"),
        *(_manifest(name, one, len(manifests) > 1) for name, one in manifests.items()),
    )


def noun(count: int, one: str) -> str:
    """A count with its noun: "1 question", "2,000 questions"."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def colour(number: int) -> str:
    """The class of a contender's colour."""
    return f"c{number % COLOURS}"


def link(**state: object) -> str:
    """The address of a view of the rows."""
    return f"#{urlencode({name: str(value) for name, value in state.items()})}"


def _alert(text: str) -> Markup:
    return tag("p", text, class_="alert", dir="auto")


def _name(number: int, label: str) -> Markup:
    return tag(
        "span",
        tag("span", class_=f"swatch {colour(number)}"),
        tag("bdi", label, class_="name"),
        class_="who",
    )


def _ranked(corpus: Corpus) -> list[tuple[int, Contender]]:
    """Contenders with their numbers, the best first, those without a score last."""
    return sorted(
        enumerate(corpus.contenders),
        key=lambda one: -1.0 if math.isnan(p := one[1].tables[0].overall.percent) else p,
        reverse=True,
    )


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
        tag("div", _name(number, one.label), tag("span", figure, class_="figure"), class_="line"),
        tag("div", gauge(overall), class_=colour(number)),
    )


def _table(corpus: Corpus) -> Markup:
    titles = [*corpus.metrics, "answered", "no answer", "degraded", "questions/s", "peak memory"]
    first = tag("th", "model", scope="col")
    heads = (tag("th", title, scope="col", class_="number") for title in titles)
    body = (_figures(*one) for one in _ranked(corpus))
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
        f"{one.pace:.1f}" if one.pace else "–",
        join(memory, None if peaks or not whole else tag("small", "whole process")),
    )
    return tag(
        "tr",
        tag("th", _name(number, one.label), scope="row"),
        *(tag("td", cell, class_="number") for cell in cells),
    )


def _score(table: ScoreTable) -> Markup:
    score = table.overall
    if not score.count:
        return join("–")
    return join(f"{score.percent:.2f} %", tag("small", f"{score.low:.1f} – {score.high:.1f}"))


def _group(title: str, filter_: str, tables: Sequence[Mapping[str, Score]]) -> Markup:
    counts = {name: max(t[name].count for t in tables if name in t) for t in tables for name in t}
    names = sorted(counts, key=lambda name: (-counts[name], name))
    blocks = [_type(name, filter_, counts[name], tables) for name in names]
    more = blocks[MOST_TYPES:]
    return join(
        tag("h3", title, class_="group"),
        tag("div", *blocks[:MOST_TYPES], class_="types"),
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


def _pair(pair: Pair, corpus: Corpus) -> Markup:
    first, second = (corpus.contenders[at].label for at in (pair.first, pair.second))
    both = f"{pair.first},{pair.second}"
    links = (
        link(right=both),
        link(right=pair.first, wrong=pair.second),
        link(right=pair.second, wrong=pair.first),
        link(wrong=both),
    )
    names = ("both right", f"only {first} right", f"only {second} right", "both wrong")
    said = ("both right", _alone(pair.first, first), _alone(pair.second, second), "both wrong")
    counts = (pair.both, pair.only_first, pair.only_second, pair.neither)
    items = (
        tag("li", tag("a", short, href=to), tag("span", f"{count:,}"))
        for short, to, count in zip(said, links, counts, strict=True)
    )
    difference = pair.difference or 0.0
    return tag(
        "div",
        tag(
            "h3",
            _name(pair.first, first),
            _name(pair.second, second),
            tag("span", _signed(difference), tag("small", "points"), class_="difference"),
            class_="versus",
        ),
        split(pair, (colour(pair.first), colour(pair.second)), links, names),
        tag("ul", *items, class_="flips"),
        class_="pair",
    )


def _alone(number: int, label: str) -> Markup:
    """That a contender alone is right; its colour stands for its name."""
    kind = f"swatch {colour(number)}"
    return join("only ", tag("span", class_=kind, role="img", aria_label=label), "right")


def _signed(points: float) -> str:
    """A difference with its sign, and no sign for none."""
    return f"{points:+.1f}".replace("-", "−") if abs(points) >= 0.05 else "0.0"


def _cause(number: int, one: Contender, cause: str, count: int) -> Markup:
    where = zip(one.columns["cause"], one.columns["message"], strict=True)
    message = next((message for found, message in where if found == cause), "")
    cell = tag("a", f"{count:,}", href=link(cause=cause, by=number))
    return tag(
        "tr",
        tag("th", _name(number, one.label), scope="row"),
        tag("td", cause.replace("_", " ")),
        tag("td", cell, class_="number"),
        tag("td", tag("bdi", message[:300])),
    )


def _course(number: int, one: Contender, course: Course, total: int) -> Markup:
    def rows(point: Point) -> str:
        return link(by=number, rows=f"{point.first}-{point.last}")

    memory, pace = memory_chart(course, rows), pace_chart(course, rows)
    what = "process memory" if course.uses_footprint else "memory"
    charts = (
        _chart([tag("b", what), *_keys(course)], memory, shown(int(highest(course))), total),
        _chart([tag("b", "questions a second")], pace, f"{fastest(course):.3g}", total),
    )
    return tag(
        "div",
        tag("h3", _name(number, one.label)),
        *(tag("div", chart, class_=colour(number)) for chart in charts if chart),
        _actions(course),
        class_="course",
    )


def _chart(
    caption: Sequence[Markup], drawing: Markup | None, top: str, total: int
) -> Markup | None:
    if drawing is None:
        return None
    plot = tag(
        "div",
        tag("div", tag("span", top), tag("span", "0"), class_="scale"),
        drawing,
        tag("div", tag("span", "1"), tag("span", f"{total:,}"), class_="extent"),
        class_="plot",
    )
    return tag("figure", tag("figcaption", *caption, class_="caption"), plot, class_="chart")


def _keys(course: Course) -> list[Markup]:
    def key(name: str, kind: str = "") -> Markup:
        return tag("span", name, class_=f"key {kind}".rstrip())

    found = [key("peak")]
    if any(point.predicted for point in course.points):
        found.append(key("predicted", "dotted"))
    if course.budget:
        found.append(key(f"budget {shown(course.budget)}", "limit"))
    if course.cleanups:
        found.append(key("cleanup", "cleanups"))
    if course.restarts:
        found.append(key("restart", "restarts"))
    return found


def _actions(course: Course) -> Markup | None:
    said = [
        f"{one.strategy}: {one.call} × {one.times:,}, {shown(one.freed)} freed"
        for one in course.summary.actions
    ]
    said += [f"audit: {verdict}" for verdict in course.summary.verdicts]
    if not said:
        return None
    return tag(
        "details",
        tag("summary", "what was done about memory"),
        tag("ul", *(tag("li", one, dir="auto") for one in said), class_="note"),
    )


def _manifest(name: str, manifest: Manifest, several: bool) -> Markup:
    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    adapters = facts.pop("adapters")
    return join(
        tag("h3", name, class_="group") if several else None,
        _facts(facts),
        *(
            tag("details", tag("summary", tag("bdi", label)), _facts(adapters[label]))
            for label in adapters
        ),
    )


def _facts(facts: Mapping[str, Any]) -> Markup:
    """Names and values, nested ones in one line each; what is not set is left out."""
    items = ((name.replace("_", " "), _plain(value)) for name, value in facts.items())
    pairs = (join(tag("dt", name), tag("dd", value, dir="auto")) for name, value in items if value)
    return tag("dl", *pairs, class_="facts")


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        parts = ((name, _plain(part)) for name, part in value.items())
        return ", ".join(f"{str(name).replace('_', ' ')} {part}" for name, part in parts if part)
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "" if value is None else str(value)
