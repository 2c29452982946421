"""Batches in a worker: what happens to one question harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.asking import replies_to
from tests.worker import Opener, answered, ask, failed
from vqa_engine.adapter import Question
from vqa_engine.results import Reply
from vqa_engine.worker import Timeouts


def asked(*texts: str, one_image: bool = False) -> list[Question]:
    """Questions about an image each, or all about one."""
    return [
        ask(text, number, image=b"one" if one_image else b"%d" % number)
        for number, text in enumerate(texts)
    ]


def sizes(replies: list[Reply]) -> list[int | None]:
    """How many were answered together; None where there is no answer."""
    return [int(r.answer.text.split()[1]) if r.answer else None for r in replies]


def pids(replies: list[Reply]) -> list[str]:
    return [answered(reply).text.split()[2] for reply in replies]


def test_they_are_answered_together(open_session: Opener) -> None:
    session = open_session("Together")
    session.load()
    assert sizes(replies_to(session, asked(*"abcdef"))) == [4, 4, 4, 4, 2, 2]


def test_a_single_question_goes_the_same_way(open_session: Opener) -> None:
    session = open_session("Together")
    session.load()
    assert sizes(replies_to(session, asked("a"))) == [1]


@pytest.mark.parametrize("bad", ["raise", "wrong"])
def test_an_outcome_of_its_own_costs_no_neighbour(open_session: Opener, bad: str) -> None:
    session = open_session("Together")
    session.load()
    replies = replies_to(session, asked("a", bad, "c", "d"))
    assert sizes(replies) == [4, None, 4, 4]
    assert failed(replies[1]).cause == "adapter"


@pytest.mark.parametrize("bad", [ask("lone \ud800", 1), ask("big", 1 << 70)])
def test_a_question_that_cannot_cross_costs_no_neighbour(
    open_session: Opener, bad: Question
) -> None:
    session = open_session("Together")
    session.load()
    first, *others = asked(*"abcdefgh")
    replies = replies_to(session, [first, bad, *others])
    assert [reply.answer is None for reply in replies] == [False, True] + [False] * 7


@pytest.mark.slow
def test_a_batch_that_dies_is_asked_one_by_one(open_session: Opener) -> None:
    session = open_session("TogetherDies")
    session.load()
    replies = replies_to(session, asked("a", "bad", "c", "d", "e", "f"))
    assert sizes(replies) == [1, None, 1, 1, 2, 2]
    failure = failed(replies[1])
    assert [attempt.cause for attempt in failure.attempts] == ["crashed"] * 3


@pytest.mark.slow
def test_the_other_questions_of_a_deadly_image_are_asked_alone(open_session: Opener) -> None:
    """Five questions about one image, each of which kills three workers, and others after it."""
    session = open_session("TogetherDies")
    session.load()
    deadly = asked(*["bad"] * 7, "good", "fine", one_image=True)
    safe = [ask(f"s{n}", f"s{n}", image=b"another") for n in range(4)]
    replies = replies_to(session, [*deadly, *safe])
    assert sizes(replies) == [None] * 7 + [1, 1] + [4] * 4


@pytest.mark.slow
def test_patience_is_for_the_questions_that_are_being_answered(open_session: Opener) -> None:
    """Of 32 that are offered four are begun, so four times the patience is what they have."""
    session = open_session("TogetherHangs", timeouts=Timeouts(load=60, answer=0.5, stop=0.5))
    session.load()
    replies = replies_to(session, asked("bad", *"abcdefghijklmnop"))
    assert "within 0.5 s" in failed(replies[0]).message
    assert sizes(replies)[1:4] == [1, 1, 1]


@pytest.mark.slow
def test_a_batch_has_the_patience_of_all_its_questions(open_session: Opener) -> None:
    session = open_session("TogetherSlow", timeouts=Timeouts(load=60, answer=1, stop=0.5))
    session.load()
    assert sizes(replies_to(session, asked(*"abcd"))) == [4] * 4


@pytest.mark.slow
def test_a_wish_for_a_fresh_process_loses_no_answer(open_session: Opener) -> None:
    session = open_session("TogetherRecycled")
    session.load()
    replies = replies_to(session, asked(*"abcdefghijklmnopqr"))
    assert None not in sizes(replies)
    assert len(set(pids(replies))) == 3


def test_a_batch_without_memory_is_asked_one_by_one(open_session: Opener) -> None:
    session = open_session("TogetherRunsOut")
    session.load()
    pid = session.pid
    assert sizes(replies_to(session, asked(*"abcdef"))) == [1] * 4 + [1] * 2
    assert session.pid == pid


def test_one_that_failed_beside_others_is_asked_alone(open_session: Opener) -> None:
    session = open_session("Together")
    session.load()
    replies = replies_to(session, asked("a", "recover", "c"))
    assert sizes(replies) == [3, 1, 3]


def test_a_worker_used_in_batches_is_not_fresh(open_session: Opener, tmp_path: Path) -> None:
    """So a device error is worth a restart, which cures it."""
    session = open_session("TogetherDeviceFails", options={"count": tmp_path / "count"})
    session.load()
    replies = replies_to(session, asked("a", "b", "c", "d"))
    assert sizes(replies) == [4] * 4
    (cured,) = replies_to(session, asked("bad"))
    assert answered(cured)
    assert [attempt.cause for attempt in cured.attempts] == ["backend"]


def test_ground_truths_never_reach_the_adapter(open_session: Opener) -> None:
    session = open_session("Spied")
    session.load()
    question = ask("?", answers=("yes",), image_id=3, question_type="is it", answer_type="yes/no")
    (reply,) = replies_to(session, [question])
    assert answered(reply).text == "((), None, None, None)"
