"""What the sections of a report have in common: names, counts, links."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from urllib.parse import urlencode

from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.reporting.markup import Markup, tag

COLOURS = 6
"""Colours that the style sheet has for contenders."""


def noun(count: int, one: str) -> str:
    """A count with its noun: "1 question", "2,000 questions"."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def colour(number: int) -> str:
    """The class of a contender's colour."""
    return f"c{number % COLOURS}"


def link(**state: object) -> str:
    """The address of a view of the rows."""
    return f"#{urlencode({name: str(value) for name, value in state.items()})}"


def anchor(name: str) -> str:
    """The id of the part of this name."""
    return name.lower().replace(" ", "-")


def card(name: str, content: Markup) -> Markup:
    """A part of the page, that `head` links to."""
    return tag("section", content, class_="card", id=anchor(name), aria_label=name)


def named(number: int, label: str) -> Markup:
    return tag(
        "span",
        tag("span", class_=f"swatch {colour(number)}"),
        tag("bdi", *_breakable(label), class_="name"),
        class_="who",
    )


def _breakable(label: str) -> Iterator[str]:
    """A label that may be broken after the marks in a spec: `name@owner/model`."""
    for part in re.split(r"(?<=[@/:])", label):
        yield part
        yield tag("wbr")


def ranked(corpus: Corpus) -> list[tuple[int, Contender]]:
    """Contenders with their numbers, the best first, those without a score last."""
    return sorted(
        enumerate(corpus.contenders),
        key=lambda one: -1.0 if math.isnan(p := one[1].tables[0].overall.percent) else p,
        reverse=True,
    )
