"""The top of a report: what was run, and what has to be known before the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vqa_engine.reporting.corpus import Corpus
from vqa_engine.reporting.markup import Markup, tag
from vqa_engine.reporting.sections.parts import anchor, noun


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
    damaged = {one.run.name: one.run.journal.unread for one in corpus.contenders}
    for name, unread in damaged.items():
        if unread:
            rows = "1 row" if unread == 1 else f"{unread:,} rows"
            yield _alert(f"{name} is damaged: {rows} cannot be read, and left out of this page.")
    for one in corpus.contenders:
        if one.tally.unasked:
            yield _alert(
                f"{one.label}: {noun(one.tally.unasked, 'question')} of {one.tally.total:,} not "
                "asked so far. The same command continues the run."
            )


def _alert(text: str) -> Markup:
    return tag("p", text, class_="alert", dir="auto")
