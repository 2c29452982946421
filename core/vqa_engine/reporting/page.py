"""The report as one HTML document, with a policy that lets nothing of the run be executed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import evolve, frozen

from vqa_engine.reporting import sections
from vqa_engine.reporting.coded import Column, packed
from vqa_engine.reporting.corpus import RIGHT, Corpus
from vqa_engine.reporting.course import course
from vqa_engine.reporting.markup import Markup, join, tag, trusted

SHOWS = {
    "all": "All",
    "wrong": "Wrong",
    "failed": "Failed",
    "degraded": "Degraded",
    "differ": "Disagree",
}
"""The views of the rows: the name in the address, and on the button."""


@frozen(kw_only=True)
class Content:
    """What a page is made from.

    `addresses` are those of the pictures, by their key; `no_picture` says why one is missing.
    """

    corpus: Corpus
    title: str
    addresses: Mapping[str, str]
    no_picture: str


def data(content: Content) -> bytes:
    """The rows, packed for the page's script (`vqa_engine.reporting.coded.packed`)."""
    corpus = content.corpus
    pictures = evolve_values(corpus.pictures, content.addresses)
    facts: dict[str, Any] = {
        "contenders": [one.label for one in corpus.contenders],
        "metrics": list(corpus.metrics),
        "right": RIGHT,
        "no_picture": content.no_picture,
    }
    return packed({**corpus.columns(), "picture": pictures}, facts)


def evolve_values(column: Column, new: Mapping[str, str]) -> Column:
    """The column with other values at the same places; None for one that has no other."""
    return evolve(column, values=[new.get(value) for value in column.values])


def document(content: Content, *, live: str | None = None) -> str:
    """The whole page. `live` is the version of a page whose rows the viewer sends apart."""
    rows = None if live is not None else base64.b64encode(data(content)).decode()
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(live is not None)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{content.title} · vqa-engine"),
        tag("style", _asset("page.css")),
    )
    body = tag(
        "body",
        summary(content),
        tag("main", _rows(), class_="wide"),
        tag("dialog", _opened(), id="detail", aria_label="One row"),
        _footer(),
        tag("script", rows, type="application/octet-stream", id="data") if rows else None,
        tag("script", _asset("page.js")),
        data_live=live is not None,
        data_version=live,
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', *head), body, lang='en')}\n"


def summary(content: Content) -> Markup:
    """Everything above the rows."""
    corpus = content.corpus
    found = [course(one, corpus) for one in corpus.contenders]
    made = {
        "Accuracy": sections.accuracies(corpus),
        "Question by question": sections.comparisons(corpus),
        "By type": sections.types(corpus),
        "Errors": sections.errors(corpus),
        "Memory and speed": sections.courses(corpus, found),
        "Setup": sections.setup(corpus),
    }
    parts = {name: part for name, part in made.items() if part is not None}
    return tag(
        "div",
        sections.head(corpus, content.title, [*parts, "Rows"]),
        tag(
            "div",
            *sections.warnings(corpus),
            *map(sections.card, parts, parts.values()),
            class_="wide",
        ),
        id="summary",
    )


@cache
def policy(live: bool) -> str:
    """The Content-Security-Policy: this script, this style sheet, pictures, nothing else.

    'self' lets a page in a file show pictures beside it, and the viewer's page ask the viewer.
    """
    asks = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src 'sha256-{_hash('page.js')}'; "
        f"style-src 'sha256-{_hash('page.css')}'; img-src data: 'self'; {asks}"
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> Markup:
    return trusted(files(__package__).joinpath(name).read_text("utf-8"))


def _hash(name: str) -> str:
    return base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()


def _rows() -> Markup:
    buttons = (
        tag("button", name, tag("span"), type="button", value=value, aria_pressed="false")
        for value, name in SHOWS.items()
    )
    return join(
        tag(
            "noscript",
            tag("p", "The rows need JavaScript; the figures above do not.", class_="alert"),
        ),
        tag(
            "p",
            "The viewer does not answer: it was stopped. Start it again to see new rows.",
            class_="alert",
            id="gone",
            hidden=True,
        ),
        tag(
            "section",
            tag("h2", "Rows"),
            tag(
                "div",
                tag(
                    "div",
                    *buttons,
                    class_="segments",
                    id="shows",
                    role="group",
                    aria_label="Which rows",
                ),
                class_="tools",
            ),
            tag("div", *_tools(), class_="tools options"),
            tag("div", class_="chips", id="chips"),
            tag(
                "div",
                tag("div", class_="columns", id="columns", aria_hidden="true"),
                tag(
                    "div",
                    tag("ol", id="list"),
                    tag(
                        "p", "No row passes these filters.", class_="empty", id="empty", hidden=True
                    ),
                    class_="window",
                    id="window",
                ),
                class_="list",
            ),
            class_="card",
            id="rows",
            hidden=True,
        ),
    )


def _tools() -> Sequence[Markup]:
    orders = (tag("option", "in order", value=""), tag("option", "slowest first", value="slow"))
    return (
        tag(
            "input",
            type="search",
            id="search",
            placeholder="Search questions, answers, ids",
            aria_label="Search questions, answers, ids",
            autocomplete="off",
        ),
        _labelled("model", tag("select", id="by")),
        _labelled("type", tag("select", id="type")),
        _labelled("metric", tag("select", id="metric")),
        _labelled(
            "over",
            tag(
                "input",
                type="number",
                id="slow",
                min=0,
                step="any",
                placeholder="seconds",
                aria_label="Slower than, in seconds",
            ),
        ),
        _labelled("order", tag("select", *orders, id="sort")),
        tag("span", id="found", class_="found", role="status"),
    )


def _labelled(name: str, control: Markup) -> Markup:
    return tag("label", tag("span", name), control)


def _opened() -> Markup:
    def button(id_: str, sign: str, word: str) -> Markup:
        text = join(sign, tag("span", f" {word}", class_="word"))
        return tag("button", text, type="button", id=id_, aria_label=f"{word} row")

    return join(
        tag(
            "div",
            tag("span", id="place", class_="place"),
            button("earlier", "←", "Previous"),
            button("later", "→", "Next"),
            tag(
                "button",
                join("✕", tag("span", " Close", class_="word")),
                type="button",
                id="shut",
                aria_label="Close",
            ),
            class_="bar-top",
        ),
        tag("div", id="opened", class_="opened"),
    )


def _footer() -> Markup:
    keys = (
        ("/", "search"),
        ("j", "open, next row"),
        ("k", "previous row"),
        ("Esc", "close"),
    )
    said = [join(tag("kbd", key), f" {word}  ") for key, word in keys]
    return tag(
        "footer",
        tag("p", *said, class_="keys"),
        tag(
            "p",
            "This file holds the questions and answers of the run. It loads nothing from "
            "the network.",
        ),
        class_="wide",
    )
