"""Rows become columns once each, also those of a run that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from tests.builders import a_question
from tests.reporting.builders import METRICS, PLAN, a_run, many
from vqa_engine.adapter import Answer
from vqa_engine.reporting import opened
from vqa_engine.reporting.collecting import Collector, collect
from vqa_engine.reporting.corpus import ALL_PROMPTS, Corpus
from vqa_engine.results import Failure, Row
from vqa_engine.runs import journal, stored
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import metric

LABELS = ("a", "b")


def a_collector() -> Collector:
    return Collector([metric(name) for name in METRICS], lambda question: str(question.image))


def read(collector: Collector, run: Path) -> Corpus:
    with opened([run]) as runs:
        return collector.read(runs)


def record(run: Path, *rows: tuple[int, Row]) -> None:
    store = Journal(run / journal.FILE)
    for position, row in rows:
        store.record(position, row)
    store.close()


def facts(corpus: Corpus) -> dict[object, object]:
    """All that a page says of each question, whatever their order."""
    columns = corpus.columns()
    lists = [name for name in columns if name.startswith("truths")]
    flat = [column for name, column in columns.items() if name not in lists]
    rows = {id_: row for id_, *row in zip(corpus.ids, *flat, strict=True)}
    return {
        "rows": rows,
        "tables": [repr(one.tables) for one in corpus.contenders],  # nan is not equal to itself
        "tallies": [one.tally for one in corpus.contenders],
        "paces": [round(one.pace.rate or 0, 1) for one in corpus.contenders],
    }


def test_reading_on_gives_what_reading_all_at_once_gives(tmp_path: Path) -> None:
    rows = [(at % 60, row) for at, row in enumerate(many(60, LABELS))]
    run = a_run(tmp_path / "run", [], count=60, labels=LABELS)
    collector = a_collector()
    for first in range(0, len(rows), 25):
        record(run, *rows[first : first + 25])
        corpus = read(collector, run)
    assert facts(read(collector, run)) == facts(read(a_collector(), run))
    assert len(corpus) == 60


def test_a_row_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(enumerate(many(20, ["a"])))
    run = a_run(tmp_path / "run", [], count=20)
    record(run, *rows[:15])
    collector, decoded, seen = a_collector(), stored.decoded_row, list[str]()

    def watched(adapter: str, key: object, row: bytes, question: bytes) -> Row:
        seen.append(adapter)
        return decoded(adapter, key, row, question)

    monkeypatch.setattr(stored, "decoded_row", watched)
    for new in (15, 5, 0):
        assert len(read(collector, run)) == 20 - 5 * (new == 15)
        assert len(seen) == new
        seen.clear()
        record(run, *rows[15:] if new == 15 else ())


def test_a_failed_question_that_was_asked_again_counts_once(tmp_path: Path) -> None:
    question = a_question(1, answers=("yes",) * 10)
    failure = Failure(cause="killed", message="gone", detail="trace")
    failed = Row(adapter="a", question=question, failure=failure, seconds=2.0)
    answered = Row(adapter="a", question=question, answer=Answer("yes", plan=PLAN), seconds=0.5)
    run = a_run(tmp_path / "run", [failed])
    collector = a_collector()
    assert read(collector, run).contenders[0].tally.causes == {"killed": 1}
    record(run, (0, answered))
    assert facts(read(collector, run)) == facts(read(a_collector(), run))
    (one,) = read(collector, run).contenders
    assert (one.tally.done, one.tally.failed, one.tables[0].errors) == (1, 0, 0)
    assert one.pace.rate == pytest.approx(2)


def test_a_replaced_answer_and_another_adapter_are_read_from_the_start(tmp_path: Path) -> None:
    question = a_question(1, answers=("yes",) * 10)
    rows = [Row(adapter="a", question=question, answer=Answer(t, plan=PLAN)) for t in ("no", "yes")]
    run = a_run(tmp_path / "run", rows[:1])
    collector = a_collector()
    read(collector, run)
    record(run, (0, rows[1]))
    assert facts(read(collector, run)) == facts(read(a_collector(), run))
    record(run, (0, evolve(rows[1], adapter="0")))
    assert [one.label for one in read(collector, run).contenders] == ["a", "0"]
    assert facts(read(collector, run)) == facts(read(a_collector(), run))


def test_places_side_by_side_add_up_to_one_pace(tmp_path: Path) -> None:
    rows = [evolve(row, place=f"gpu {at % 2}", seconds=0.5) for at, row in enumerate(many(8, "a"))]
    with opened([a_run(tmp_path / "run", rows)]) as runs:
        (one,) = collect(runs, [metric(METRICS[0])], lambda _: None).contenders
    assert one.pace.rate == pytest.approx(4)


def test_prompts_share_what_is_not_the_question(tmp_path: Path) -> None:
    def asked(number: int, prompt: str, text: str) -> Row:
        answer = Answer("yes", plan=PLAN, prompt=prompt)
        return Row(adapter="a", question=a_question(number, text=text), answer=answer)

    rows = [
        asked(1, "<i>Is it?</i>", "Is it?"),
        asked(2, "<i>What?</i>", "What?"),
        asked(3, "x" * ALL_PROMPTS, "Who?"),
        asked(4, "ab", ""),
        asked(5, "<i>Why?</i>", "Why?"),
    ]
    with opened([a_run(tmp_path / "run", rows)]) as runs:
        (one,) = collect(runs, [metric(METRICS[0])], lambda _: None).contenders
    shared = ("<i>", "</i>")
    assert list(one.columns["prompt"]) == [shared, shared, (), ("ab",), shared]
