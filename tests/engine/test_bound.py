"""A model's own bound on pictures is in the plan, on the row and in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import questions
from tests.fakes import Instant
from vqa_engine import Engine, GenerationPlan
from vqa_engine.adapter import NO_EDGE, MemoryProfile
from vqa_engine.errors import RunMismatch
from vqa_engine.runs.directory import read_manifest


class Bounded(Instant):
    """Wants no large pictures."""

    def memory_profile(self) -> MemoryProfile:
        return MemoryProfile(image_longest_edge=1536)


PLACES: list[dict[str, Any]] = [
    {"isolation": "inline"},
    {"isolation": "process"},
    {"places": ["local://?count=2"]},
]


@pytest.mark.slow
@pytest.mark.parametrize("where", PLACES, ids=str)
def test_it_is_on_the_row_and_in_the_manifest(where: dict[str, Any], tmp_path: Path) -> None:
    with Engine(Bounded, **where) as engine:
        result = engine.run(questions(3), tmp_path / "run")
        assert engine.run(questions(3), tmp_path / "run").tallies == result.tallies
    for row in result.rows():
        assert row.answer is not None
        assert (row.answer.plan.image_longest_edge, row.degraded) == (1536, False)
    (record,) = read_manifest(tmp_path / "run").adapters.values()
    assert record.image_longest_edge == 1536


@pytest.mark.parametrize(("edge", "used"), [(100, 100), (NO_EDGE, None)])
def test_a_plan_replaces_it(edge: int, used: int | None) -> None:
    plan = GenerationPlan(image_longest_edge=edge)
    with Engine(Bounded, isolation="inline", plan=plan) as engine:
        assert engine.ask(b"", "Who?").plan.image_longest_edge == used


def test_no_bound_is_written_as_such(tmp_path: Path) -> None:
    plan = GenerationPlan(image_longest_edge=NO_EDGE)
    with Engine(Bounded, isolation="inline", plan=plan) as engine:
        (row,) = engine.run(questions(1), tmp_path / "run").rows()
    assert row.answer is not None
    assert (row.answer.plan.image_longest_edge, row.degraded) == (None, False)
    assert '"image_longest_edge": "none"' in (tmp_path / "run" / "manifest.json").read_text()
    assert read_manifest(tmp_path / "run").plan == plan
    with (
        Engine(Bounded, isolation="inline") as engine,
        pytest.raises(RunMismatch, match="image_longest_edge"),
    ):
        engine.run(questions(1), tmp_path / "run")
