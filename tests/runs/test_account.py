"""The account of one adapter: what is asked again, and what counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import a_question
from tests.fakes import Instant
from vqa_engine import Engine
from vqa_engine.adapter import Answer, GenerationPlan
from vqa_engine.results import Failure, Row
from vqa_engine.runs.account import Account
from vqa_engine.runs.journal import Journal
from vqa_engine.scoring import metric

METRICS = [metric("vqa-v2-normalised")]


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal()
    yield made
    made.close()


def answered(number: int) -> Row:
    answer = Answer(text="yes", plan=GenerationPlan())
    return Row(adapter="a", question=a_question(number), answer=answer)


def failed(number: int) -> Row:
    failure = Failure(cause="image", message="gone")
    return Row(adapter="a", question=a_question(number), failure=failure)


def an_account(journal: Journal, total: int = 3, *, keep_failed: bool = False) -> Account:
    return Account("a", journal, METRICS, total, keep_failed=keep_failed)


def test_a_failed_question_is_open_and_counts_only_once_it_was_asked_again(
    journal: Journal,
) -> None:
    for place, row in enumerate((answered(0), failed(1), answered(2))):
        journal.record(place, row)
    account = an_account(journal)
    assert [account.has(place) for place in range(3)] == [True, False, True]
    assert not account.finished
    assert (account.progress().done, account.progress().failed) == (2, 0)
    assert (account.scores()[0].errors, account.tally().open) == (0, 1)
    account.add(1, failed(1))
    assert (account.progress().done, account.progress().failed) == (3, 1)
    assert (account.scores()[0].errors, account.tally().open) == (1, 1)
    assert account.finished


def test_failed_questions_can_be_kept(journal: Journal) -> None:
    journal.record(0, answered(0))
    journal.record(1, failed(1))
    account = an_account(journal, 2, keep_failed=True)
    assert account.finished
    assert account.has(1)
    assert (account.progress().resumed, account.scores()[0].errors) == (2, 1)


def test_only_an_answer_counts_as_answered_before(journal: Journal) -> None:
    journal.record(0, failed(0))
    assert not an_account(journal).answered_before
    assert not an_account(journal, keep_failed=True).answered_before
    journal.record(1, answered(1))
    assert an_account(journal).answered_before


def test_an_answer_of_this_process_is_not_one_from_before(journal: Journal) -> None:
    account = an_account(journal)
    account.add(0, answered(0))
    assert not account.answered_before


def test_what_was_stored_is_what_counts(journal: Journal) -> None:
    account = an_account(journal)
    bad = Answer(text=None, plan=GenerationPlan())  # type: ignore[arg-type]  # an adapter's fault
    row = account.add(0, Row(adapter="a", question=a_question(0), answer=bad))
    assert row.failure is not None
    assert (account.progress().failed, account.scores()[0].errors) == (1, 1)


def test_questions_in_flight_are_suspects_until_they_have_a_row(journal: Journal) -> None:
    dying = an_account(journal)
    dying.begin([0, 2**65])
    account = an_account(journal)
    assert (account.suspects, account.deaths(a_question(2**65))) == (2, 1)
    account.add(0, answered(0))
    account.add(1, answered(2**65))
    assert account.suspects == 0


def test_questions_that_were_never_asked_are_open(journal: Journal) -> None:
    account = an_account(journal, 5)
    account.add(0, answered(0))
    assert (account.tally().unasked, account.tally().total) == (4, 5)


@pytest.mark.slow
def test_a_run_goes_on_whatever_cannot_be_stored(tmp_path: Path) -> None:
    asked = [
        a_question(0),
        a_question("\ud800"),
        a_question(2**70),
        a_question(3, image=Path(os.fsdecode(b"\xff.png"))),
    ]
    for _ in range(2):
        with Engine(adapters=[Instant], isolation="inline") as engine:
            result = engine.run(asked, tmp_path / "run")
        assert [row.failure is None for row in result.rows()] == [True, False, False, False]
        assert result.tallies["instant"].causes == {"adapter": 3}
