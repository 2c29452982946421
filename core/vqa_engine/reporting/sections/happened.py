"""What happened on the way: questions without an answer, memory and speed."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_engine.memory.budget import shown
from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.reporting.course import Course, Point
from vqa_engine.reporting.drawings import (
    fastest,
    highest,
    memory_chart,
    pace_chart,
)
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.sections.parts import colour, link, named


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


def _cause(number: int, one: Contender, cause: str, count: int) -> Markup:
    where = zip(one.columns["cause"], one.columns["message"], strict=True)
    message = next((message for found, message in where if found == cause), "")
    cell = tag("a", f"{count:,}", href=link(cause=cause, by=number))
    return tag(
        "tr",
        tag("th", named(number, one.label), scope="row"),
        tag("td", cause.replace("_", " ")),
        tag("td", cell, class_="number"),
        tag("td", tag("bdi", message[:300])),
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
        tag("h3", named(number, one.label)),
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
