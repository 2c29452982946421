"""Hostile values as settings of the Python API: refused by name, at once."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Instant
from vqa_engine import Engine, GenerationPlan
from vqa_engine.errors import ConfigurationError
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.worker.timeouts import Timeouts

WHOLE = ("max_tokens", "seed", "prefill_step", "image_longest_edge", "encoder_batch", "rung")
numbers = st.sampled_from([math.nan, math.inf, -math.inf, True, 10**400, -(10**400)])
no_number: st.SearchStrategy[Any] = numbers | st.sampled_from(
    ["x", b"x", [1], {}, (), date.today(), "a\0b", "\udcff", 1.5j]
)


@given(value=no_number, name=st.sampled_from((*WHOLE, "temperature")))
def test_a_plan_of_no_number_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a") as error:
        evolve(GenerationPlan(), **{name: value})
    assert len(str(error.value)) < 200


@given(value=no_number)
def test_times_and_budgets_of_no_number_are_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^answer must be a"):
        Timeouts(answer=value)
    with pytest.raises(ValueError, match=r"^budget must be a"):
        MemoryPolicy(budget=value)


@given(
    value=no_number,
    name=st.sampled_from(["memory_budget", "same_failures", "max_failures", "plan", "timeouts"]),
)
def test_an_engine_of_no_number_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} "):
        Engine(Instant(), isolation="inline", **{name: value})


@pytest.mark.parametrize("name", ["observer", "lossy", "memory_saver", "parallel", "places"])
@pytest.mark.parametrize("value", [1, 1.5, b"x", [1], object()])
def test_an_engine_of_other_kinds_is_refused_by_name(value: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is "):
        Engine(Instant(), isolation="inline", **{name: value})
