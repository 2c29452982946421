"""The page is one document in which nothing of the run is markup."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from tests.reporting.builders import METRICS, PLAN, a_run, many
from tests.reporting.conftest import write
from tests.reporting.test_coded import unpacked
from vqa_engine import reporting
from vqa_engine.adapter import Answer, Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.reporting.markup import join, tag
from vqa_engine.results import Attempt, Failure, Row
from vqa_engine.runs.journal import Journal

HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "' onmouseover='window.pwned=1",
    "<!--",
    "]]>",
    "javascript:window.pwned=1",
    "\u2028window.pwned=1\u2029",
    "{{constructor.constructor('window.pwned=1')()}}",
    "&lt;script&gt;",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
)
"""Texts that become something else wherever they are taken for markup or code."""


def hostile(labels: tuple[str, ...] = ("a", "<b onclick=window.pwned=1>")) -> list[Row]:
    """Rows with such texts in every field that holds text."""
    rows = []
    for label in labels:
        for number, text in enumerate(HOSTILE):
            question = hostile_question(number, text)
            plan = evolve(PLAN, prompt=f"{text}{{question}}", system=text, stop=(text,))
            answer = Answer(
                text=text, plan=plan, prompt=f"{text}{question.text}{text}", server=text
            )
            tried = (Attempt(plan=plan, cause="killed", message=text),)
            row = Row(adapter=label, question=question, place=text, attempts=tried)
            rows.append(evolve(row, answer=answer))
            failure = Failure(cause="adapter", message=text, reason=text, detail=text)
            question = hostile_question(100 + number, text)
            rows.append(evolve(row, question=question, failure=failure))
    return rows


def hostile_question(number: int, text: str) -> Question:
    return a_question(
        f"{text} {number}",
        image=Path(text),
        text=text,
        answers=(text,) * 3,
        question_type=text,
        answer_type=text,
        choices=(text,),
        origin=text,
    )


class Elements(HTMLParser):
    """Collects every element with its attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in {"script", "style"}:
            self.texts.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def page_of(rows: list[Row]) -> str:
    """The page of these rows, without a file."""
    journal = Journal()
    for position, row in enumerate(rows):
        journal.record(position, row)
    run = reporting.Run(name=HOSTILE[0], journal=journal)
    try:
        from vqa_engine.reporting.collecting import collect
        from vqa_engine.reporting.page import document
        from vqa_engine.scoring import metric

        gallery = reporting.Gallery()
        corpus = collect([run], [metric(name) for name in METRICS], gallery.key)
        return document(reporting.make(corpus, gallery, Path("report.html"), "beside"))
    finally:
        journal.close()


def test_hostile_texts_add_no_element_and_no_attribute() -> None:
    plain = Elements(page_of([_harmless(row) for row in hostile()]))
    found = Elements(page_of(hostile()))
    assert {tag for tag, _ in found.found} == {tag for tag, _ in plain.found}
    for _, attributes in found.found:
        assert not [name for name in attributes if name.startswith("on")]
        assert not (attributes.get("href") or "#").startswith("javascript:")
    assert len(found.named("script")) == 2


def test_the_policy_allows_this_script_and_this_style_sheet_alone() -> None:
    found = Elements(page_of(hostile()))
    (policy,) = [
        str(one["content"])
        for one in found.named("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    hashes = re.findall(r"'sha256-([^']+)'", policy)
    style, _, script = found.texts
    assert hashes == [_digest(script), _digest(style)]
    assert all("style" not in attributes for _, attributes in found.found)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=5))
def test_any_texts_come_back_from_the_page(texts: list[tuple[str, str]]) -> None:
    rows = [
        Row(
            adapter="a",
            question=a_question(number, text=asked, question_type=said, answers=(said,)),
            answer=Answer(text=said, plan=PLAN),
        )
        for number, (asked, said) in enumerate(texts)
    ]
    found = Elements(page_of(rows))
    columns = unpacked(base64.b64decode(found.texts[1]))
    assert columns["text"] == [asked for asked, _ in texts]
    assert columns["0.answer"] == columns["truths.items"] == [said for _, said in texts]
    assert [tag for tag, _ in found.found].count("script") == 2


@given(st.text(), st.text())
def test_markup_keeps_texts_and_attributes(text: str, value: str) -> None:
    made = tag("p", text, tag("b", "bold"), title=value, hidden=True, id=None)
    found = Elements(made)
    assert [name for name, _ in found.found] == ["p", "b"]
    if "\r" not in value and "\0" not in value:
        assert found.found[0][1] == {"title": value, "hidden": None}
    assert join("<", tag("br")) == "&lt;<br>"


def test_runs_are_compared_question_by_question(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", many(50, ["a"]), labels=["a"])
    second = a_run(tmp_path / "second", many(40, ["a"], seed=1), labels=["a"])
    page = write(first, second, page=tmp_path / "both.html").read_text()
    assert "a (first)" in page
    assert "a (second)" in page
    columns = unpacked(base64.b64decode(Elements(page).texts[1]))
    assert len(columns["1.answer"]) == 50
    assert columns["1.seconds"][40:] == [None] * 10


def test_runs_that_ask_different_questions_under_one_id_are_refused(tmp_path: Path) -> None:
    def asked(text: str) -> list[Row]:
        answer = Answer(text="yes", plan=PLAN)
        return [Row(adapter="a", question=a_question(1, text=text), answer=answer)]

    first = a_run(tmp_path / "first", asked("Is it red?"))
    second = a_run(tmp_path / "second", asked("Is it blue?"))
    with pytest.raises(ConfigurationError, match="different questions under the id 1"):
        write(first, second)


def test_a_run_without_rows_has_a_page(tmp_path: Path) -> None:
    page = write(a_run(tmp_path / "run", [], count=3)).read_text()
    assert "3 questions of 3 not asked so far" in page


def _harmless(row: Row) -> Row:
    """The same row with texts that are plain words."""
    question = a_question(
        f"id {row.question.question_id!r}",
        image=Path("x.png"),
        choices=("one",),
        question_type=f"type {len(row.question.text)}",
    )
    answer = Answer(text="yes", plan=PLAN) if row.answer else None
    failure = Failure(cause="adapter", message="no", detail="no") if row.failure else None
    return Row(adapter=row.adapter[:1], question=question, answer=answer, failure=failure)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
