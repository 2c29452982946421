"""The journal: what was committed stays, what was not is asked again."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from vqa_engine.adapter import Answer, GenerationPlan, MemoryReading, TokenCounts
from vqa_engine.errors import JournalError
from vqa_engine.results import Attempt, Failure, MemoryEvent, Row
from vqa_engine.runs.journal import FILE, Journal

PLAN = GenerationPlan(prefill_step=64, rung=1)

texts = st.text(max_size=20)
answers = st.builds(
    Answer,
    text=texts,
    plan=st.just(PLAN),
    token_ids=st.lists(st.integers(0, 50_000), max_size=4).map(tuple),
    tokens=st.none() | st.just(TokenCounts(prompt=3, completion=1)),
    memory=st.none() | st.just(MemoryReading(active=1, peak=2)),
)
failures = st.builds(
    Failure,
    cause=st.sampled_from(["image", "hung"]),
    message=texts,
    attempts=st.just((Attempt(plan=PLAN, cause="killed", message="gone"),)),
)


def a_row(question_id: int | str = 1, adapter: str = "a", text: str = "yes") -> Row:
    answer = Answer(text=text, plan=GenerationPlan())
    return Row(adapter=adapter, question=a_question(question_id), answer=answer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1) | texts, answers | failures),
        max_size=6,
        unique_by=lambda pair: (type(pair[0]), pair[0]),
    )
)
def test_rows_come_back_as_they_went_in(outcomes: list[tuple[int | str, Answer | Failure]]) -> None:
    journal = Journal()
    rows = [
        Row(
            adapter="a",
            question=a_question(key, choices=("x", "y"), image_id=key),
            answer=outcome if isinstance(outcome, Answer) else None,
            failure=outcome if isinstance(outcome, Failure) else None,
            seconds=0.25,
        )
        for key, outcome in outcomes
    ]
    for position, row in enumerate(rows):
        journal.begin("a", row.question.question_id)
        journal.record(position, row)
    assert list(journal.rows()) == rows
    assert journal.tally("a").failed == sum(row.answer is None for row in rows)
    journal.close()


def test_the_number_1_and_the_text_1_are_two_questions() -> None:
    journal = Journal()
    journal.record(0, a_row(1))
    assert journal.has("a", 1)
    assert not journal.has("a", "1")


def test_rows_keep_the_caller_s_order_whatever_the_order_of_answering() -> None:
    journal = Journal()
    for position in (2, 0, 1):
        journal.record(position, a_row(f"q{position}"))
    assert [row.question.question_id for row in journal.rows("a")] == ["q0", "q1", "q2"]


def test_a_question_in_flight_is_no_row_and_counts_its_tries(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE)
    journal.begin("a", 7)
    journal.begin("a", 7)
    assert (journal.tries("a", 7), journal.has("a", 7), journal.tally("a").done) == (2, False, 0)
    journal.abandon("a")
    assert journal.tries("a", 7) == 0
    journal.close()


def test_events_keep_adapter_and_order() -> None:
    journal = Journal()
    journal.record_events("a", (MemoryEvent(strategy="s", call="one"),))
    event = MemoryEvent(strategy="s", call="two", freed=5, question_id=1)
    journal.record(0, a_row(), (event,))
    assert [timed.event.call for timed in journal.events("a")] == ["one", "two"]
    assert list(journal.events("b")) == []


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.runs.test_journal import a_row
from vqa_engine.runs.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.begin("a", number)
    print(number, flush=True)
    journal.record(number, a_row(number))
"""


def test_a_killed_writer_loses_at_most_the_question_in_flight(tmp_path: Path) -> None:
    file = tmp_path / FILE
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 500:
            writer.send_signal(signal.SIGKILL)
            break
    begun = int(([line, *writer.stdout.read().split()])[-1])
    writer.wait()
    writer.stdout.close()
    journal = Journal(file)
    kept = [row.question.question_id for row in journal.rows("a")]
    assert kept == list(range(len(kept)))
    # One more than it could say when it died between committing and printing.
    assert begun <= len(kept) <= begun + 1
    journal.close()


def test_a_torn_write_costs_only_what_was_torn(tmp_path: Path) -> None:
    file = tmp_path / FILE
    journal = Journal(file)
    for number in range(20):
        journal.begin("a", number)
        journal.record(number, a_row(number))
    copy = tmp_path / "copy.sqlite"
    wal = Path(f"{file}-wal").read_bytes()
    copy.write_bytes(file.read_bytes())
    Path(f"{copy}-wal").write_bytes(wal[: len(wal) - 700])
    journal.close()
    torn = Journal(copy)
    kept = [row.question.question_id for row in torn.rows("a")]
    assert kept == list(range(len(kept)))
    assert len(kept) >= 18
    torn.close()


def _fill(journal: Journal) -> None:
    for number in range(1, 1000):
        journal.begin("a", number)
        journal.record(number, a_row(number, text="long " * 100))


def test_a_full_disk_is_one_clear_sentence_and_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / FILE
    journal = Journal(file)
    journal.record(0, a_row(0))
    journal.flush()
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(JournalError, match=r"full.*before are safe.*Free some space"):
        _fill(journal)
    journal.close()
    again = Journal(file)
    kept = [row.question.question_id for row in again.rows("a")]
    assert kept == list(range(len(kept)))
    assert kept
    again.close()


@pytest.mark.parametrize("content", [b"this is no database, only text" * 40, b"SQLite format 3\0"])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / FILE)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="give another --output"):
        Journal(tmp_path / "no" / "such" / "folder" / FILE)


def test_every_sqlite_error_of_a_closed_journal_is_ours() -> None:
    journal = Journal()
    journal.close()
    journal.close()
    with pytest.raises(JournalError) as caught:
        journal.begin("a", 1)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
