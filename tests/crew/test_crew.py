"""A crew of places: whatever dies, each question has one row."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crew.fakes import FakeSession, FakeSite, Notes, a_job, first, groups, rows_of, said
from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.crew.crew import Crew
from vqa_engine.crew.job import Job
from vqa_engine.crew.place import Terms
from vqa_engine.crew.rows import MAX_DEATHS
from vqa_engine.crew.work import Work
from vqa_engine.errors import (
    BackendGone,
    CheckpointError,
    OutOfMemory,
    PlaceLost,
    VqaEngineError,
    WorkerError,
)
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Failure, Reply
from vqa_engine.runs.manifest import adapter_record
from vqa_engine.session.protocol import Settled

INSTANT = AdapterSpec(name="instant", target="tests.fakes:Instant")

schedules = st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=1, max_size=4)
"""For each place how many exchanges each of its sessions lasts."""


@settings(max_examples=60)
@given(schedules, st.integers(0, 20), st.integers(1, 4), st.sampled_from([1, 4]))
def test_whatever_dies_each_question_has_exactly_one_row(
    schedule: list[list[int]], count: int, size: int, window: int
) -> None:
    """A run that no place is left for is continued by the same command, as often as needed."""
    lives = [iter(one) for one in schedule]
    seen: Counter[int] = Counter()
    for _ in range(20):
        missing = [[p for p in group if p[0] not in seen] for group in groups(count, size)]
        job = Job(Terms(spec=INSTANT), Work(group for group in missing if group))
        sites = [FakeSite(f"s{n}", life, window=window) for n, life in enumerate(lives)]
        seen.update(position for position, _ in rows_of(sites, job))
        if job.error is None:
            break
        assert isinstance(job.error, PlaceLost)
    assert seen == Counter(range(count))


def test_answers_do_not_depend_on_who_dies() -> None:
    calm = rows_of([FakeSite("a"), FakeSite("b")], a_job(30))
    wild = rows_of([FakeSite("a", [2, 0, 3]), FakeSite("b", [1, 1])], a_job(30))
    texts = [{p: str(row.answer) for p, row in rows} for rows in (calm, wild)]
    assert texts[0] == texts[1]


def test_questions_about_one_image_go_to_one_place() -> None:
    rows = rows_of([FakeSite("a"), FakeSite("b"), FakeSite("c")], a_job(60, size=5))
    places = [{row.place for p, row in rows if p // 5 == image} for image in range(12)]
    assert all(len(one) == 1 for one in places)


def test_a_place_has_two_groups_in_hand() -> None:
    site = FakeSite("a")
    rows_of([site], a_job(12, size=3))
    assert max(map(len, site.offered)) <= 6
    assert any(len(offered) > 3 for offered in site.offered)


def test_what_is_left_at_the_end_goes_in_small_parts_to_idle_places() -> None:
    work = Work(groups(64, size=1))
    sizes, idle = [], False
    while work.waiting:
        bundle = work.take(8, idle=idle, places=2)
        idle = bundle is None
        if bundle is not None:
            sizes.append(len(bundle.left))
    assert sum(sizes) == 64
    assert sizes[:4] == [8, 8, 8, 8]
    assert sizes[-2:] == [1, 1]
    assert sizes == sorted(sizes, reverse=True)


def test_a_few_questions_are_shared_by_places_that_take_many() -> None:
    both = threading.Barrier(2, timeout=20)

    def asking(upcoming: Sequence[Question]) -> list[Settled]:
        if upcoming[0].question_id in {0, 3}:  # what each is asked first
            both.wait()
        return first(upcoming)

    sites = [FakeSite(name, asking=asking, window=32) for name in "ab"]
    assert {row.place for _, row in rows_of(sites, a_job(12))} == {"a", "b"}


def test_a_lost_place_is_tried_again_and_told_of() -> None:
    site, notes = FakeSite("a", [2]), Notes()
    rows_of([site], a_job(6), observer=notes)
    assert site.loads == 2
    assert any("a is lost" in text for text in notes.texts)


def test_a_run_without_a_place_ends_and_leaves_its_questions_open() -> None:
    job = a_job(6)
    assert rows_of([FakeSite("a", [0] * 9), FakeSite("b", [0] * 9)], job) == []
    assert isinstance(job.error, PlaceLost)


def test_a_second_reply_is_dropped_and_counted() -> None:
    earlier: list[Question] = []

    def twice(upcoming: Sequence[Question]) -> list[Settled]:
        earlier.append(upcoming[0])
        return [said(one) for one in earlier[-2:]]

    job, notes = a_job(4, size=1), Notes()
    rows = rows_of([FakeSite("a", asking=twice)], job, observer=notes)
    assert [position for position, _ in rows] == [0, 1, 2, 3]
    assert job.work.dropped == 3
    assert any("3 replies came twice" in text for text in notes.texts)


def test_a_question_that_kills_every_place_is_given_up_and_no_other_is() -> None:
    def deadly(upcoming: Sequence[Question]) -> list[Settled] | VqaEngineError:
        if upcoming[0].question_id == 4:
            return PlaceLost("a", "the machine went down")
        return first(upcoming)

    sites = [FakeSite(name, asking=deadly) for name in "ab"]
    rows = dict(rows_of(sites, a_job(12)))
    assert sorted(rows) == list(range(12))
    assert [p for p, row in rows.items() if row.failure] == [4]
    assert rows[4].failure is not None
    assert f"died {MAX_DEATHS} times" in rows[4].failure.message


def test_a_place_that_cannot_run_the_adapter_is_left_out() -> None:
    bad = FakeSite("bad", refusal=CheckpointError("m", [], "no disk", "Buy one"))
    notes = Notes()
    rows = rows_of([bad, FakeSite("good")], a_job(6), observer=notes)
    assert {row.place for _, row in rows} == {"good"}
    assert any("bad cannot go on" in text for text in notes.texts)


def test_when_no_place_can_run_the_adapter_its_error_is_the_first_one() -> None:
    job = a_job(6)
    wrong = [FakeSite(n, refusal=CheckpointError(n, [], "no disk", "Buy one")) for n in "ab"]
    assert rows_of(wrong, job) == []
    assert isinstance(job.error, CheckpointError)


def test_a_worker_that_keeps_dying_takes_only_its_own_place_with_it() -> None:
    def crashing(_upcoming: Sequence[Question]) -> VqaEngineError:
        return WorkerError("five in a row", label="instant", cause="crashed")

    rows = rows_of([FakeSite("a", asking=crashing), FakeSite("b")], a_job(9))
    assert [p for p, _ in sorted(rows, key=lambda pair: pair[0])] == list(range(9))
    assert {row.place for _, row in rows} == {"b"}


def test_a_server_that_is_gone_at_one_place_is_asked_at_another() -> None:
    def gone(upcoming: Sequence[Question]) -> list[Settled]:
        return [(upcoming[0], Reply(failure=Failure(cause="gone", message="no server")))]

    rows = rows_of([FakeSite("a", asking=gone), FakeSite("b")], a_job(9))
    assert sorted(position for position, _ in rows) == list(range(9))
    job = a_job(9)
    assert rows_of([FakeSite("a", asking=gone)], job) == []
    assert isinstance(job.error, BackendGone)


@pytest.mark.parametrize("fact", ["checkpoint", "version", "sha256"])
def test_a_place_with_another_adapter_or_checkpoint_is_refused(fact: str) -> None:
    ours = evolve(adapter_record(INSTANT), version="1.0", checkpoint="abc")
    changed: dict[str, Any] = {fact: "other"}
    other = evolve(ours, **changed)
    sites = [FakeSite("a", record=ours), FakeSite("b", record=other)]
    job, notes = Job(Terms(spec=INSTANT), Work(groups(30))), Notes()
    rows = rows_of(sites, job, observer=notes)
    assert len(rows) == 30
    assert len({row.place for _, row in rows}) == 1
    refused = [text for text in notes.texts if "is refused" in text]
    assert len(refused) == 1
    assert fact in refused[0]


def test_other_libraries_are_recorded_and_not_refused() -> None:
    ours = adapter_record(INSTANT)
    theirs = evolve(ours, libraries={**ours.libraries, "torch": "0.1"})
    kept: list[str] = []
    crew = Crew(
        [FakeSite("a", record=theirs)],
        [Job(Terms(spec=INSTANT), Work(groups(3)))],
        GenerationPlan(),
        observer=Notes(),
        keep=lambda _label, events: kept.extend(event.detail for event in events),
    )
    assert len(list(crew.records())) == 3
    assert any("torch 0.1 (here" in detail for detail in kept)


def test_adapters_run_side_by_side_where_there_are_places() -> None:
    meeting = threading.Barrier(2, timeout=20)

    def together(upcoming: Sequence[Question]) -> list[Settled]:
        if upcoming[0].question_id == 0:
            meeting.wait()
        return first(upcoming)

    sites = [FakeSite(name, asking=together) for name in "ab"]
    rows = rows_of(sites, a_job(6, label="one"), a_job(6, label="other"))
    assert Counter(row.adapter for _, row in rows) == {"one": 6, "other": 6}


def test_a_place_goes_on_with_the_next_adapter() -> None:
    notes = Notes()
    rows = rows_of([FakeSite("a")], *(a_job(3, label=n) for n in "xyz"), observer=notes)
    assert len(rows) == 9
    assert notes.models == [f"{what} {n}" for n in "xyz" for what in ("loading", "released")]


def test_a_model_that_does_not_fit_beside_another_runs_after_it() -> None:
    refused = threading.Event()

    class Tight(FakeSite):
        """Has no memory for the large model until it has refused it once."""

        def session(self, terms: Terms) -> FakeSession:
            no_room = terms.spec.label == "large" and not refused.is_set()
            self.refusal = OutOfMemory("no room") if no_room else None
            session = super().session(terms)
            if no_room:
                refused.set()
            return session

    def after_that(upcoming: Sequence[Question]) -> list[Settled]:
        assert refused.wait(20)
        return first(upcoming)

    sites = [Tight(name, asking=after_that) for name in "ab"]
    jobs = a_job(6, label="small"), a_job(6, label="large")
    rows = rows_of(sites, *jobs)
    assert refused.is_set()
    assert [job.error for job in jobs] == [None, None]
    assert Counter(row.adapter for _, row in rows) == {"small": 6, "large": 6}
    assert all(row.place in "ab" for _, row in rows)


def test_what_another_package_s_place_raises_costs_that_place() -> None:
    def broken(_upcoming: Sequence[Question]) -> list[Settled]:
        raise ZeroDivisionError

    rows = rows_of([FakeSite("a", asking=broken), FakeSite("b")], a_job(6))
    assert {row.place for _, row in rows if row.answer} == {"b"}
    assert len(rows) == 6
