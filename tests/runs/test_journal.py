"""The journal: what was committed stays, what was not is asked again."""

from __future__ import annotations

import copy
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from vqa_engine.adapter import Answer, GenerationPlan, MemoryReading, Question, TokenCounts
from vqa_engine.errors import JournalError
from vqa_engine.results import Attempt, Cause, Failure, MemoryEvent, Row
from vqa_engine.runs.directory import open_journal
from vqa_engine.runs.journal import FILE, Journal
from vqa_engine.runs.stored import key

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


class Oddity:
    """A number of another library, such as NumPy's: JSON knows nothing of it."""

    def __index__(self) -> int:
        return 5


def a_row(question_id: int | str = 1, adapter: str = "a", text: str = "yes") -> Row:
    answer = Answer(text=text, plan=GenerationPlan())
    return Row(adapter=adapter, question=a_question(question_id), answer=answer)


ids = st.integers() | st.text(st.characters(), max_size=8)


@settings(deadline=None)
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
        assert journal.record(position, row) is row
    assert list(journal.rows()) == rows
    assert journal.tally("a").failed == sum(row.answer is None for row in rows)
    assert not journal.begun("a")
    journal.close()


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            Question,
            question_id=ids,
            text=st.text(st.characters(), max_size=5),
            image=st.just(b"") | st.just(Path(os.fsdecode(b"\xff.png"))),
            image_id=st.none() | ids,
            choices=st.lists(st.text(st.characters(), max_size=2), max_size=2).map(tuple),
        ),
        max_size=6,
        unique_by=lambda question: (type(question.question_id), question.question_id),
    )
)
def test_any_question_gives_a_row_that_reads_back_as_it_was_stored(asked: list[Question]) -> None:
    journal = Journal()
    kept = []
    for position, question in enumerate(asked):
        journal.begin("a", question.question_id)
        row = Row(adapter="a", question=question, answer=Answer(text="yes", plan=PLAN))
        kept.append(journal.record(position, row))
    assert list(journal.rows("a")) == kept
    assert [place for place, _ in journal.placed_rows("a", failed=True)] == [*range(len(asked))]
    assert not journal.begun("a")
    journal.close()


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"question_id": "\ud800"}, r"\ud800"),
        ({"text": "\ud800?"}, "question cannot be stored"),
        ({"image": Path(os.fsdecode(b"caf\xe9.jpg"))}, "caf\\udce9.jpg"),
        ({"image_id": "\udfff"}, "\\udfff"),
        ({"text": None}, "question cannot be stored"),
    ],
)
def test_a_question_that_cannot_be_stored_is_a_failed_row(
    facts: dict[str, Any], shown: str
) -> None:
    journal = Journal()
    question = a_question(**{"question_id": 1, **facts})
    row = Row(adapter="a", question=question, answer=Answer(text="yes", plan=PLAN))
    event = MemoryEvent(strategy="s", call="c", question_id=question.question_id)
    kept = journal.record(0, row, (event,))
    assert list(journal.rows()) == [kept]
    assert kept.failure is not None
    assert kept.failure.cause == "adapter"
    assert shown in str(kept).replace(r"\\", "\\")
    assert len(list(journal.events("a"))) == 1
    journal.close()


@pytest.mark.parametrize(
    "facts",
    [{"text": None}, {"text": "\udcff"}, {"token_ids": (Oddity(),)}, {"token_ids": 7}],
)
def test_an_answer_that_cannot_be_stored_costs_its_question_alone(facts: dict[str, Any]) -> None:
    journal = Journal()
    bad = Answer(**{"text": "yes", "plan": PLAN, **facts})
    kept = journal.record(0, Row(adapter="a", question=a_question(1), answer=bad))
    assert kept.failure is not None
    assert kept.failure.message.startswith("the answer cannot be stored")
    assert kept.question == a_question(1)
    journal.record(1, a_row(2))
    assert [row.answer is None for row in journal.rows()] == [True, False]
    journal.close()


def test_a_failure_that_cannot_be_stored_keeps_its_cause() -> None:
    journal = Journal()
    attempt = Attempt(plan=PLAN, cause="hung", message="\udc80")
    failure = Failure(cause="image", message="no \udce9.jpg", detail="\ud800", attempts=(attempt,))
    row = Row(adapter="a", question=a_question(1), failure=failure, attempts=(attempt,))
    kept = journal.record(0, row)
    assert kept.failure is not None
    assert (kept.failure.cause, kept.failure.message) == ("image", "no \\udce9.jpg")
    assert list(journal.rows()) == [kept]
    journal.close()


@given(st.sets(ids, max_size=8))
def test_no_two_ids_share_a_key(some: set[int | str]) -> None:
    assert len({(type(key(one)), key(one)) for one in some}) == len(some)


@pytest.mark.parametrize("question_id", [2**65, -(2**63), "\ud800", "", "int 5", (1, 2)])
def test_an_odd_id_is_known_again(tmp_path: Path, question_id: Any) -> None:
    for tries in (1, 2):
        with closing(Journal(tmp_path / FILE)) as journal:
            journal.begin("a", question_id)
            assert journal.tries("a", question_id) == tries
    with closing(Journal(tmp_path / FILE)) as journal:
        for _ in range(2):
            journal.record(0, a_row(question_id))
        assert journal.tally("a").done == 1
        assert journal.tries("a", question_id) == 0


def test_the_number_1_and_the_text_1_are_two_questions() -> None:
    journal = Journal()
    journal.record(0, a_row(1))
    journal.record(1, a_row("1"))
    assert [row.question.question_id for row in journal.rows("a")] == [1, "1"]


def test_rows_keep_the_caller_s_order_whatever_the_order_of_answering() -> None:
    journal = Journal()
    for position in (2, 0, 1):
        journal.record(position, a_row(f"q{position}"))
    assert [row.question.question_id for row in journal.rows("a")] == ["q0", "q1", "q2"]


def test_a_question_in_flight_is_no_row_and_counts_its_tries(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / FILE)
        journal.begin("a", 7)
        journal.close()
    journal = Journal(tmp_path / FILE)
    assert (journal.tries("a", 7), journal.tally("a").done, len(journal.begun("a"))) == (2, 0, 1)
    journal.abandon("a")
    assert journal.tries("a", 7) == 0
    journal.close()


def test_a_failed_row_stays_until_its_question_is_answered() -> None:
    journal = Journal()
    failed = Row(adapter="a", question=a_question(7), failure=Failure(cause="hung", message="x"))
    journal.record(0, failed)
    journal.begin("a", 7)
    assert list(journal.rows()) == [failed]
    journal.abandon("a")
    assert list(journal.rows()) == [failed]
    journal.record(0, a_row(7))
    assert list(journal.rows()) == [a_row(7)]
    journal.close()


def test_a_tally_counts_the_open_questions_by_cause() -> None:
    journal = Journal()
    causes: tuple[Cause, ...] = ("image", "out_of_memory", "image")
    for number, cause in enumerate(causes):
        failure = Failure(cause=cause, message="")
        journal.record(number, Row(adapter="a", question=a_question(number), failure=failure))
    journal.record(3, a_row(3))
    tally = journal.tally("a", total=6)
    assert (tally.done, tally.failed, tally.unasked, tally.open) == (4, 3, 2, 5)
    assert list(tally.causes.items()) == [("image", 2), ("out_of_memory", 1)]
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE rows SET record = '{}' WHERE id = 'two'",
        "UPDATE rows SET record = NULL WHERE id = 'two'",
        "UPDATE questions SET record = x'00' WHERE id = 'two'",
        "DELETE FROM questions WHERE id = 'two'",
    ],
)
def test_a_damaged_row_is_one_sentence_that_names_it(tmp_path: Path, change: str) -> None:
    with closing(Journal(tmp_path / FILE)) as journal:
        journal.record(0, a_row("one"))
        journal.record(1, a_row("two"))
        journal.flush()
        journal._db.execute(change)
    with (
        closing(open_journal(tmp_path)) as journal,
        pytest.raises(JournalError, match=r"question 'two' of 'a' .* cannot be read: .*--salvage"),
    ):
        list(journal.rows())


def test_a_damaged_event_is_one_sentence(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / FILE)) as journal:
        journal._db.execute("INSERT INTO events VALUES ('a', 0.0, '[]')")
        with pytest.raises(JournalError, match="memory event of 'a'"):
            list(journal.events())


def test_damage_that_shows_while_reading_is_one_sentence(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / FILE)) as journal:
        for number in range(400):
            journal.record(number, a_row(number, text="long " * 100))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: 4096 * 3] + b"\xff" * (len(whole) - 4096 * 3))
    with closing(open_journal(tmp_path)) as journal, pytest.raises(JournalError, match="damaged"):
        list(journal.rows())


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE rows (adapter, id, tries, failed); CREATE TABLE questions (id)",
        "CREATE TABLE recipes (name)",
        f"CREATE TABLE t (a); PRAGMA application_id = {0x56514145}; PRAGMA user_version = 99",
    ],
)
def test_another_format_is_one_sentence_and_left_alone(tmp_path: Path, made: str) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.executescript(made)
    before = (tmp_path / FILE).read_bytes()
    for open_it, remedy in (
        (Journal, "--output"),
        (lambda file: open_journal(file.parent), "the version that wrote it"),
    ):
        with pytest.raises(JournalError, match=rf"not written by this version.*{remedy}"):
            open_it(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == before


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What would show a change: each file's inode, size and time of writing."""
    found = [(path.name, path.stat()) for path in (folder, *folder.iterdir())]
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found}


def test_reading_a_finished_run_changes_nothing_on_disk(tmp_path: Path) -> None:
    run = tmp_path / "an archived run, 100 % done?"
    run.mkdir()
    with closing(Journal(run / FILE)) as journal:
        journal.record(0, a_row(1))
    run.chmod(0o555)
    before = contents(run)
    with closing(open_journal(run)) as journal:
        assert list(journal.rows()) == [a_row(1)]
        assert journal.tally("a").done == 1
        assert contents(run) == before
        with pytest.raises(JournalError, match="readonly"):
            journal.record_events("a", (MemoryEvent(strategy="s", call="c"),))
    assert contents(run) == before


def test_a_run_in_progress_can_be_read(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / FILE)) as writing:
        writing.record(0, a_row(1))
        writing.flush()
        with closing(open_journal(tmp_path)) as reading:
            assert list(reading.rows()) == [a_row(1)]
        writing.record(1, a_row(2))
        writing.flush()
        assert writing.tally("a").done == 2


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


def test_what_scoring_needs_of_a_question_is_kept(tmp_path: Path) -> None:
    question = a_question(
        1, image=tmp_path / "a.png", images=(tmp_path / "b.png",), choices=("x", "y"),
        right=1, group=7, labels={"category": "colour"},
    )  # fmt: skip
    with closing(Journal()) as journal:
        journal.record(
            0, Row(adapter="a", question=question, failure=Failure(cause="hung", message=""))
        )
        (row,) = journal.rows("a")
    assert row.question == question


def test_images_in_memory_stay_apart_by_their_hash() -> None:
    images = (b"one", b"two", b"one")
    with closing(Journal()) as journal:
        for number, image in enumerate(images):
            question = a_question(number, image=image)
            journal.record(
                number,
                Row(adapter="a", question=question, failure=Failure(cause="hung", message="")),
            )
        first, second, third = (row.question.image_id for row in journal.rows("a"))
    assert first == third != second


class _Shy:
    """A value that cannot be looked at."""

    def __repr__(self) -> str:
        raise RuntimeError


junk: st.SearchStrategy[Any] = st.sampled_from(
    [None, 7, -1, 1 << 80, float("nan"), "x", "\ud800", b"x", (), ["x"], {"x": 1}, {1: "x"}, _Shy()]
)
KINDS: tuple[type, ...] = (Question, Answer, Failure, Row, MemoryEvent)
FIELDS = {kind: [one.name for one in fields(kind)] for kind in KINDS}


def _spoiled(record: Any, facts: dict[str, Any]) -> Any:
    """The record with other values, past its checks: what a caller's subclass may do."""
    made = copy.copy(record)
    for name, value in facts.items():
        object.__setattr__(made, name, value)
    return made


def _facts(kind: type, *but: str) -> st.SearchStrategy[dict[str, Any]]:
    names = [name for name in FIELDS[kind] if name not in but]
    return st.dictionaries(st.sampled_from(names), junk, max_size=2)


@settings(max_examples=50, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
@given(st.fixed_dictionaries({kind: _facts(kind, "adapter", "question") for kind in KINDS}))
@example({kind: {"failure": float("nan")} if kind is Row else {} for kind in KINDS})
def test_nothing_is_stored_that_cannot_be_read_back(facts: dict[type, dict[str, Any]]) -> None:
    with closing(Journal()) as journal:
        for position, outcome in enumerate(
            (
                {"answer": _spoiled(Answer("yes", plan=PLAN), facts[Answer])},
                {"failure": _spoiled(Failure(cause="python", message="no"), facts[Failure])},
                {"answer": Answer("yes", plan=PLAN), **facts[Row]},
            )
        ):
            asked = _spoiled(a_question(position), facts[Question] if position < 2 else {})
            whole = Row(adapter="a", question=asked)
            journal.record(position, _spoiled(whole, outcome))
        event = _spoiled(MemoryEvent(strategy="s", call="c"), facts[MemoryEvent])
        journal.record_events("a", (event,))
        journal.flush()
        assert len(list(journal.events())) == 1
        assert journal.tally("a").done == len(list(journal.rows("a"))) > 0
