"""Contenders compared question by question."""

from __future__ import annotations

import math

from vqa_engine.reporting.corpus import RIGHT, Corpus
from vqa_engine.reporting.drawings import (
    split,
)
from vqa_engine.reporting.markup import Markup, join, tag
from vqa_engine.reporting.pairs import Pair, pairs
from vqa_engine.reporting.sections.parts import colour, link, named, noun, ranked
from vqa_engine.scoring import Figure

_MOST_PAIRS = 10
"""Pairs of contenders that are compared; five contenders have ten."""


def comparisons(corpus: Corpus) -> Markup | None:
    """Every two contenders, question by question."""
    order = [number for number, _ in ranked(corpus)]
    found = [pair for pair in pairs(corpus, order) if pair.count]
    if not found:
        return None
    note = (
        f"By {corpus.metrics[0]}, over the questions that both have a score for; intervals are "
        "95 %, paired by question and clustered by image. An answer is "
        f"right if it scores at least {100 * RIGHT:.0f} %. Each figure is a link to its rows."
    )
    hidden = len(found) - _MOST_PAIRS
    return join(
        tag("h2", "Question by question"),
        tag("p", note, class_="note"),
        tag("div", *(_pair(pair, corpus) for pair in found[:_MOST_PAIRS]), class_="pairs"),
        tag("p", f"{noun(hidden, 'further pair')} not shown.", class_="note")
        if hidden > 0
        else None,
    )


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
    difference = pair.differences.figure()
    value = pair.differences.p_value
    return tag(
        "div",
        tag(
            "h3",
            named(pair.first, first),
            named(pair.second, second),
            tag("span", _signed(difference.value), _interval(difference), class_="difference"),
            class_="versus",
        ),
        split(pair, (colour(pair.first), colour(pair.second)), links, names),
        tag("ul", *items, class_="flips"),
        None if value is None else tag("p", f"McNemar's exact p {_p(value)}", class_="note"),
        class_="pair",
    )


def _interval(difference: Figure) -> Markup:
    """The interval of a difference; questions about one image have none."""
    if math.isnan(difference.low):
        return tag("small", "points")
    return tag("small", f"{_signed(difference.low)} to {_signed(difference.high)} points")


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _alone(number: int, label: str) -> Markup:
    """That a contender alone is right; its colour stands for its name."""
    kind = f"swatch {colour(number)}"
    return join("only ", tag("span", class_=kind, role="img", aria_label=label), "right")


def _signed(points: float) -> str:
    """A difference with its sign, and no sign for none."""
    return f"{points:+.1f}".replace("-", "−") if abs(points) >= 0.05 else "0.0"
