"""Whatever an adapter returns or raises, each question has a row and the next adapter runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import a_question
from tests.fakes import Instant
from vqa_engine import Answer, Engine, GenerationPlan, Question
from vqa_engine.adapter import (
    Bound,
    CleanupStrategy,
    Controls,
    MemoryProfile,
    MemoryReading,
    QuestionCost,
    TokenCounts,
)
from vqa_engine.errors import AdapterInvalid, OutOfMemory, QuestionSetError, RunError
from vqa_engine.failures import traced
from vqa_engine.results import Row

log = logging.getLogger(__name__)


class Text(str):
    """Text, and not quite."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class Mute(Exception):
    """Cannot be shown, nor pickled."""

    def __str__(self) -> str:
        raise ValueError("no")

    def __reduce__(self) -> Any:
        raise ValueError("no")


class Beyond(BaseException):
    """Is no Exception."""


class Sharp(Mute, OutOfMemory):
    """One of ours, and cannot be shown either."""

    def __init__(self) -> None:
        """Without the facts of its base."""


class Wild:
    """Raises at whatever is done with it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Odd(CleanupStrategy):
    """A strategy with the given parts."""

    def __init__(self, bound: object) -> None:
        self.bound = bound

    def bind(self, controls: Controls) -> Bound:
        return self.bound  # type: ignore[return-value]  # that is the fault


class Nameless(Odd):
    """A strategy without a name."""

    @property
    def name(self) -> str:
        raise Beyond


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_arguments: object) -> Any:
        raise error

    return call


def giving(value: object) -> Callable[..., Any]:
    return lambda *_arguments: value


def forged(**fields: Any) -> Answer:
    """An answer with fields that its class refuses."""
    answer = Answer("red")
    for name, value in fields.items():
        object.__setattr__(answer, name, value)
    return answer


RAISED = (
    Mute(),
    Beyond("out"),
    Sharp(),
    SystemExit(3),
    GeneratorExit(),
    RecursionError(),
    KeyError(),
    QuestionSetError("not a model's"),
    RunError.__new__(RunError),
)
NONSENSE: list[Any] = [
    *(None, b"red", 7, float("nan"), 1 << 80, "\ud800", Text("red"), Wild(), [], {"text": "red"}),
    *(object(), type, iter(()), Answer(None), Answer(b"red")),  # type: ignore[arg-type]
    Answer(Text("red")), Answer("\ud800"), Answer("red", plan=None),  # type: ignore[arg-type]
    Answer("red", token_ids=(1 << 70,)), Answer("red", token_ids=Wild()),  # type: ignore[arg-type]
    Answer("red", memory=MemoryReading(active="much")),  # type: ignore[arg-type]
    Answer("red", tokens=TokenCounts(prompt="x", completion=-1)),  # type: ignore[arg-type]
    Answer("red", image_size=(1, 2, 3)), Answer("red", prompt=Wild()),  # type: ignore[arg-type]
    MemoryProfile(levers={"speed": None}), MemoryProfile(weights="heavy"),  # type: ignore[arg-type, dict-item]
    forged(probability=7.0), forged(probability=float("nan")), forged(choice=-3),
    MemoryProfile(image_longest_edge=-4), MemoryProfile(weights=-5),
    MemoryProfile(strategies=("clear",)),  # type: ignore[arg-type]
    MemoryProfile(strategies=None), MemoryProfile(backend=[]),  # type: ignore[arg-type]
    MemoryProfile(strategies=(Nameless(Bound()),)),
    *(MemoryProfile(strategies=(Odd(one),)) for one in (
        None, Bound(plan=giving(None)), Bound(plan=raising(Beyond())),
        Bound(before=raising(Mute())),
        Bound(after=raising(Sharp())), Bound(undo=raising(Beyond())), Bound(plan=7),  # type: ignore[arg-type]
    )),
    QuestionCost(prompt_tokens="many"), QuestionCost(prompt_tokens=-1),  # type: ignore[arg-type]
]  # fmt: skip

behaviours = st.sampled_from([giving(value) for value in NONSENSE] + [raising(e) for e in RAISED])
METHODS = (
    *("load", "answer", "release", "memory_profile", "profile_of", "fetch", "trace"),
    *("cost", "batch_size", "answer_batch", "cached_bytes", "drop_caches"),
)


class Logging(Instant):
    """Logs with arguments that do not fit."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        log.warning("%d of %d", "one", Wild())
        return super().answer(question, plan)


class Good(Instant):
    """The next adapter."""

    images_per_question = 2


def hostile(methods: dict[str, Callable[..., Any]]) -> type[Instant]:
    """A class that has these methods."""
    return type("Hostile", (Good,), {name: staticmethod(call) for name, call in methods.items()})


def rows_of(adapter: Instant) -> list[Row]:
    """The rows of the good adapter that comes second, after those of this one were checked."""
    asked = [a_question(number, images=(b"",) * (number == 2)) for number in range(3)]
    plan = evolve(GenerationPlan(), trace=True)
    with Engine([adapter, Good()], isolation="inline", plan=plan, same_failures=0) as engine:
        result = engine.run(asked)
        rows = list(result.rows("hostile"))
        assert bool(rows) != bool(result.errors)
        for error in result.errors.values():
            assert str(error)
        for row in rows:
            assert (row.answer is None) != (row.failure is None)
            assert row.answer is None or type(row.answer.text) is str
        return list(result.rows("good"))


@pytest.mark.slow
@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(METHODS), behaviours, min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore")  # an iterator that raises in its finaliser warns
def test_no_adapter_ends_a_run(methods: dict[str, Callable[..., Any]]) -> None:
    assert len(rows_of(hostile(methods)())) == 3


def test_log_calls_with_wrong_arguments_cost_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("tests"), "propagate", False)  # pytest's handler raises
    with Engine(Logging(), isolation="inline") as engine:
        assert engine.ask(b"", "?").text == "yes"
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("text", [Text("red"), np.str_("red")])
def test_a_subclass_of_text_is_an_answer(text: str) -> None:
    adapter = hostile({"answer": giving(Answer(text, token_ids=np.array([7])))})  # type: ignore[arg-type]
    with Engine(adapter(), isolation="inline") as engine:
        answer = engine.ask(b"", "?")
    assert (type(answer.text), answer.text, answer.token_ids) == (str, "red", (7,))


@pytest.mark.parametrize(
    "fields", [{"probability": 7.0}, {"probability": math.nan}, {"choice": -1}]
)
def test_a_number_out_of_range_is_no_answer(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Answer("red", **fields)
    with Engine(hostile({"answer": giving(forged(**fields))})(), isolation="inline") as engine:
        (row,) = engine.run([a_question(1)]).rows()
    assert row.failure
    assert next(iter(fields)) in row.failure.message


def test_a_chain_of_thousands_of_errors_is_not_printed() -> None:
    errors = [ValueError(number) for number in range(3000)]
    for earlier, later in pairwise(errors):
        later.__context__ = earlier
    assert traced(errors[-1]) == "ValueError: 2999\n"
    assert "ValueError: 0\n" in traced(errors[1])
    assert "Mute" in traced(Mute())


class Unborn(Good):
    """Cannot be created."""

    def __init__(self) -> None:
        raise Beyond


@pytest.mark.parametrize("adapter", [Wild(), Unborn], ids=["wild", "unborn"])
def test_what_cannot_be_an_adapter_is_one_sentence(adapter: Any) -> None:
    with pytest.raises(AdapterInvalid), Engine(adapter, isolation="inline") as engine:
        engine.ask(b"", "?")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_no_exception_ends_a_run(method: str, error: BaseException) -> None:
    assert len(rows_of(hostile({method: raising(error)})())) == 3
