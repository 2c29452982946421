"""The report as one HTML document, with a policy that lets nothing of the run be executed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import evolve, frozen

from vqa_engine.reporting.coded import Column, packed
from vqa_engine.reporting.corpus import RIGHT, Corpus
from vqa_engine.reporting.course import course
from vqa_engine.reporting.markup import Markup, tag, trusted
from vqa_engine.reporting.sections.accuracy import accuracies, types
from vqa_engine.reporting.sections.calibration import calibration
from vqa_engine.reporting.sections.compared import comparisons
from vqa_engine.reporting.sections.happened import courses, errors
from vqa_engine.reporting.sections.head import head, warnings
from vqa_engine.reporting.sections.parts import card
from vqa_engine.reporting.sections.places import places
from vqa_engine.reporting.sections.setup import setup

_SCRIPTS = ("data.js", "filters.js", "list.js", "opened.js", "main.js")
"""The parts of the page's one script, in order."""


@frozen(kw_only=True)
class Content:
    """What a page is made from.

    `addresses` are those of the pictures, by their key; `no_picture` says why one is missing.
    """

    corpus: Corpus
    title: str
    addresses: Mapping[str, str]
    no_picture: str


def data(content: Content, level: int = 6) -> bytes:
    """The rows, packed for the page's script (`vqa_engine.reporting.coded.packed`)."""
    corpus = content.corpus
    pictures = _evolve_values(corpus.pictures, content.addresses)
    facts: dict[str, Any] = {
        "contenders": [one.label for one in corpus.contenders],
        "metrics": list(corpus.metrics),
        "right": RIGHT,
        "no_picture": content.no_picture,
    }
    return packed({**corpus.columns(), "picture": pictures}, facts, level)


def _evolve_values(column: Column, new: Mapping[str, str]) -> Column:
    """The column with other values at the same places; None for one that has no other."""
    return evolve(column, values=[new.get(value) for value in column.values])


def document(content: Content, *, live: str | None = None) -> str:
    """The whole page. `live` is the version of a page whose rows the viewer sends apart."""
    rows = None if live is not None else base64.b64encode(data(content)).decode()
    inside = (
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
        _asset("rows.html"),
        tag("script", rows, type="application/octet-stream", id="data") if rows else None,
        tag("script", _asset(*_SCRIPTS)),
        data_live=1 if live is not None else None,
        data_version=live,
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', *inside), body, lang='en')}\n"


def summary(content: Content) -> Markup:
    """Everything above the rows."""
    corpus = content.corpus
    found = [course(one, corpus) for one in corpus.contenders]
    made = {
        "Accuracy": accuracies(corpus),
        "Question by question": comparisons(corpus),
        "By type": types(corpus),
        "Calibration": calibration(corpus),
        "Errors": errors(corpus),
        "Places": places(corpus),
        "Memory and speed": courses(corpus, found),
        "Setup": setup(corpus),
    }
    parts = {name: part for name, part in made.items() if part is not None}
    return tag(
        "div",
        head(corpus, content.title, [*parts, "Rows"]),
        tag(
            "div",
            *warnings(corpus),
            *map(card, parts, parts.values()),
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
        f"default-src 'none'; script-src {_hash(_asset(*_SCRIPTS))}; "
        f"style-src {_hash(_asset('page.css'))}; img-src data: 'self'; {asks}"
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(*names: str) -> Markup:
    """Files of this package, one after another."""
    folder = files(__package__) / "assets"
    return trusted("".join((folder / name).read_text("utf-8") for name in names))


def _hash(text: str) -> str:
    """As a policy names a script or a style sheet."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
