"""How far the probabilities of chosen options can be trusted, where a run has them."""

from __future__ import annotations

from vqa_engine.reporting.corpus import Corpus
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.sections.parts import colour, named, noun, ranked
from vqa_engine.scoring.calibration import Bin, Calibration

_TITLES = ("probability", "answers", "mean probability", "accuracy", "difference")
_SIDE = 100
"""Of a drawing's own coordinates: per cent in both directions."""

_LEAST = 1.0
"""Height of a bin's bar, so that one whose answers are all wrong is seen."""


def calibration(corpus: Corpus) -> Markup | None:
    """A drawing and a table for each contender whose answers have a probability."""
    shown = [
        _part(number, one.label, made)
        for number, one in ranked(corpus)
        if (made := one.tables[0].calibration)
    ]
    if not shown:
        return None
    note = (
        "Answers in ten bins by the probability of the chosen option. On the diagonal, a "
        "probability is as high as the answers are right; bars below it are too sure. The "
        "expected calibration error is the mean distance from it (Guo et al., 2017)."
    )
    return join(tag("h2", "Calibration"), tag("p", note, class_="note"), *shown)


def _part(number: int, label: str, made: Calibration) -> Markup:
    figure = f"{100 * made.error:.1f} % expected calibration error, {noun(made.count, 'answer')}"
    return join(
        tag(
            "div",
            named(number, label),
            tag("span", figure, class_="figure"),
            class_="heading",
        ),
        tag(
            "div",
            tag("div", _drawing(made), class_=colour(number)),
            tag("div", _table(made), class_="scroll", tabindex=0, role="group", aria_label=label),
            class_="calibration",
        ),
    )


def _drawing(made: Calibration) -> Markup:
    bars = map(_bar, made.bins)
    return tag(
        "svg",
        tag("rect", class_="track", x=0, y=0, width=_SIDE, height=_SIDE),
        *bars,
        tag("line", class_="even", x1=0, y1=_SIDE, x2=_SIDE, y2=0),
        class_="reliability",
        viewBox=f"0 0 {_SIDE} {_SIDE}",
        role="img",
        aria_label="Accuracy by probability; the table has the figures.",
    )


def _bar(one: Bin) -> Markup:
    height = max(_LEAST, _SIDE * one.accuracy)
    return tag(
        "rect",
        tag("title", f"{one.name}: {100 * one.accuracy:.1f} % of {noun(one.count, 'answer')}"),
        class_="bar",
        x=f"{_SIDE * one.low + 0.5:.1f}",
        y=f"{_SIDE - height:.2f}",
        width=f"{_SIDE * (one.high - one.low) - 1:.1f}",
        height=f"{height:.2f}",
    )


def _table(made: Calibration) -> Markup:
    heads = (
        tag("th", title, scope="col", class_="number" if at else None)
        for at, title in enumerate(_TITLES)
    )
    body = map(_row, made.bins)
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body))


def _row(one: Bin) -> Markup:
    cells = (
        f"{one.count:,}",
        f"{100 * one.probability:.1f} %",
        f"{100 * one.accuracy:.1f} %",
        f"{100 * one.gap:+.1f}",
    )
    return tag(
        "tr",
        tag("th", one.name, scope="row"),
        *(tag("td", cell, class_="number") for cell in cells),
    )
