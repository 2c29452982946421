"""A run's memory, told afterwards."""

from __future__ import annotations

import pytest

from tests.builders import a_question
from tests.memory.adapters import Leaking
from tests.memory.running import Ran, run
from vqa_engine.memory.strategies import EveryQuestions
from vqa_engine.results import MemoryEvent, MemoryPrediction, Row
from vqa_engine.runs.journal import TimedEvent
from vqa_engine.runs.timeline import line, summarise, summary_lines, timeline


def told(ran: Ran) -> tuple[list[Row], list[TimedEvent]]:
    """The rows and events that a journal would give back."""
    rows = [
        Row(
            adapter="a",
            question=a_question(number),
            answer=reply.answer,
            failure=reply.failure,
            prediction=reply.prediction,
        )
        for number, reply in enumerate(ran.replies)
    ]
    events = [*ran.loaded.events, *ran.events, *ran.released.events]
    return rows, [TimedEvent(adapter="a", time=float(n), event=e) for n, e in enumerate(events)]


@pytest.mark.slow
def test_a_summary_holds_what_was_seen() -> None:
    adapter = Leaking()
    adapter.strategies = (EveryQuestions(10, dynamic=False),)
    summary = summarise(*told(run(adapter, 40)))
    assert summary.questions == 40
    assert summary.verdicts == ("leak: the floor rises by 2048 bytes per question",)
    [cleared] = [one for one in summary.actions if one.strategy == "EveryQuestions"]
    assert cleared.times == 4
    text = "\n".join(summary_lines(summary))
    assert "leak" in text
    assert "×4" in text


def test_predictions_are_held_against_the_truth() -> None:
    rows = [
        Row(adapter="a", question=a_question(), prediction=prediction)
        for prediction in (
            MemoryPrediction(expected=90, bound=110, truth=100),
            MemoryPrediction(expected=130, bound=150, truth=100),
            MemoryPrediction(expected=50, bound=60, truth=100),
            MemoryPrediction(expected=50, bound=60),
        )
    ]
    accuracy = summarise(rows, []).accuracy
    assert (accuracy.count, accuracy.past_bound, accuracy.worst_under) == (3, 1, 0.5)
    assert abs(accuracy.mean_error - 0.3) < 1e-9


def test_an_event_is_one_line() -> None:
    event = MemoryEvent(
        strategy="plan", call="clear_cache", freed=2048, seconds=0.0015, question_id=7, detail="x"
    )
    assert line(event) == "plan question 7: clear_cache, 2.0 KiB freed, 1.5 ms: x"
    [shown] = timeline([TimedEvent(adapter="a", time=0.0, event=event)])
    assert shown.endswith(line(event))


def test_an_empty_run_has_a_summary() -> None:
    assert "unknown" in "\n".join(summary_lines(summarise([], [])))
