"""Speed and memory over a run, as few points."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from tests.builders import a_question, questions
from tests.fakes import Instant
from tests.reporting.builders import METRICS, MIB, PLAN, a_run
from vqa_engine import Engine
from vqa_engine.adapter import Answer, MemoryReading
from vqa_engine.reporting import opened
from vqa_engine.reporting.collecting import collect
from vqa_engine.reporting.course import POINTS, Course, course
from vqa_engine.results import Failure, MemoryPrediction, Row
from vqa_engine.scoring import metric


def over(run: Path) -> Course:
    with opened([run]) as runs:
        corpus = collect(runs, [metric(METRICS[0])], lambda _: None)
        return course(corpus.contenders[0], corpus)


def a_row(number: int, peak: int, floor: int, seconds: float = 0.5) -> Row:
    answer = Answer(text="yes", plan=PLAN, memory=MemoryReading(peak=peak, active=floor))
    prediction = MemoryPrediction(expected=peak - floor, bound=peak - floor + MIB)
    question = a_question(number)
    return Row(
        adapter="a", question=question, answer=answer, seconds=seconds, prediction=prediction
    )


def test_a_point_is_the_highest_and_the_lowest_of_its_questions(tmp_path: Path) -> None:
    count = 2 * POINTS
    rows = [a_row(n, peak=(10 + n % 2) * MIB, floor=(4 - n % 2) * MIB) for n in range(count)]
    found = over(a_run(tmp_path / "run", rows))
    assert len(found.points) == POINTS
    first = found.points[0]
    assert (first.first, first.last, first.count) == (0, 1, 2)
    assert first.pace == 2
    assert round((first.peak or 0) / MIB, 1) == 11
    assert round((first.floor or 0) / MIB, 1) == 3
    assert round((first.predicted or 0) / MIB, 1) == 12


def test_restarts_cleanups_and_the_budget_are_where_they_happened(tmp_path: Path) -> None:
    rows = [a_row(number, 10 * MIB, MIB) for number in range(10)]
    failure = Failure(cause="killed", message="gone")
    rows[3] = Row(adapter="a", question=a_question(3), failure=failure)
    rows[7] = evolve(rows[7], degraded=True)
    found = over(a_run(tmp_path / "run", rows))
    assert found.restarts == {3: 1}
    assert found.cleanups == {7: 1}
    assert found.budget == 1400 * MIB
    assert found.points[3].failed == 1


def test_a_run_keeps_the_budget_in_its_journal(tmp_path: Path) -> None:
    with Engine(adapters=[Instant], isolation="inline", memory_budget=5 * MIB) as engine:
        engine.run(questions(2), output=tmp_path / "run")
    assert over(tmp_path / "run").budget == 5 * MIB
