"""A hostile adapter comes to the same end inline and behind the boundary of a worker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from tests.engine import test_hostile_adapters as hostile
from tests.engine.test_hostile_adapters import METHODS, Good, behaviours
from vqa_engine import AdapterSpec, Engine, GenerationPlan
from vqa_engine.worker import Timeouts, process
from vqa_engine.worker.child import Child, _hello
from vqa_engine.worker.group import Ends
from vqa_engine.worker.messages import encode_to_host
from vqa_engine.worker.wire import Wire, WireClosed

pytestmark = pytest.mark.slow

Methods = dict[str, Callable[..., Any]]


class Subject(Good):
    """Made by whoever is asked for it, as `made` says."""

    made: type[Good] = Good

    def __new__(cls) -> Any:
        return cls.made()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(METHODS), behaviours, min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore")  # an iterator that raises in its finaliser warns
def test_both_modes_agree(monkeypatch: pytest.MonkeyPatch, methods: Methods) -> None:
    monkeypatch.setattr(process, "spawn", _in_a_thread)
    monkeypatch.setattr(Subject, "made", hostile.hostile(methods))
    assert outcome("process") == outcome("inline")


def outcome(isolation: Any) -> tuple[list[str], list[tuple[object, ...]], int]:
    """The kinds of errors, each row's answer or cause of failure, and the next one's answers."""
    spec = AdapterSpec(name="subject", target=f"{__name__}:Subject")
    plan = evolve(GenerationPlan(), trace=True)
    asked = [a_question(number, images=(b"",) * (number == 2)) for number in range(3)]
    short = Timeouts(stop=0.01)  # the process at hand does nothing until it is ended
    facts: Any = {"isolation": isolation, "plan": plan, "timeouts": short, "same_failures": 0}
    with Engine([spec, Good], **facts) as engine:
        result = engine.run(asked)
        errors = [type(error).__name__ for error in result.errors.values()]
        rows: list[tuple[object, ...]] = [
            (row.question.question_id, row.answer and row.answer.text,
             row.failure and row.failure.cause)
            for row in result.rows("subject")
        ]  # fmt: skip
        return errors, rows, len([row for row in result.rows("good") if row.answer])


def _in_a_thread(*_: object) -> Any:
    """A worker whose code runs here, behind real pipes; the process is there to be ended."""
    their_reader, writer = os.pipe()
    reader, their_writer = os.pipe()
    unread, lifeline = os.pipe()
    os.close(unread)
    Thread(target=_serve, args=(Wire(their_reader, their_writer),), daemon=True).start()
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return Ends(sleeper, Wire(reader, writer), lifeline, "nobody")


def _serve(wire: Wire) -> None:
    with suppress(WireClosed):
        wire.send(encode_to_host(_hello()))
        Child(wire, ()).serve()
    wire.close()
