"""Each habit of memory gets the right verdict, on real MLX arrays."""

from __future__ import annotations

import pytest

from tests.memory.adapters import (
    Attached,
    Cyclic,
    KeepingResults,
    Leaking,
    OnPurpose,
    Steady,
    Wandering,
    WarmingUp,
)
from tests.memory.running import run
from vqa_engine.memory.audit import Audit, judge
from vqa_engine.memory.gauges import Figure
from vqa_engine.memory.trend import POINTS, Series
from vqa_engine.memory.watch import Watch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "kind"),
    [
        (Steady, "steady"),
        (Leaking, "leak"),
        (KeepingResults, "leak"),
        (Cyclic, "cycles"),
        (WarmingUp, "warm-up"),
    ],
)
def test_each_habit_gets_its_verdict(adapter: type[Steady], kind: str) -> None:
    assert run(adapter()).verdict.kind == kind


@pytest.mark.slow
def test_a_leak_is_rated_to_the_byte() -> None:
    assert run(Leaking()).verdict.rate == 2048
    assert run(KeepingResults()).verdict.rate == 32_768 * 4


@pytest.mark.slow
def test_a_leak_is_still_seen_after_blocks_have_merged() -> None:
    verdict = run(Leaking(), count=300).verdict
    assert (verdict.kind, verdict.rate) == ("leak", 2048)


@pytest.mark.slow
def test_what_holds_the_arrays_is_named() -> None:
    details = [event.detail for event in run(Leaking()).events]
    assert any("Leaking.history" in detail for detail in details)
    details = [event.detail for event in run(KeepingResults()).events]
    assert any("held by Row" in detail for detail in details)


def test_what_wanders_and_comes_back_is_no_leak() -> None:
    assert not run(Wandering()).verdict.leaks


def test_a_cache_that_is_declared_is_no_leak() -> None:
    assert not run(OnPurpose()).verdict.leaks


@pytest.mark.slow
def test_cycles_are_collected_again_and_again() -> None:
    floors = [reading.active or 0 for reading in run(Cyclic(), 200).readings]
    assert max(floors) - min(floors) <= 32 * 2048


@pytest.mark.slow
def test_too_few_questions_give_no_verdict() -> None:
    assert run(Leaking(), count=4).verdict.kind == "unknown"


@pytest.mark.slow
def test_what_release_leaves_behind_is_reported_to_the_byte() -> None:
    released = run(Attached()).released
    Attached.kept = None
    assert released.residue is not None
    assert released.residue >= 2048
    calls = [event.call for event in released.events]
    assert calls == ["verdict", "gc.collect", "clear_cache", "residue"]


@pytest.mark.slow
def test_models_change_places_and_the_floor_comes_back() -> None:
    residues = [run(one, 8).released.residue for one in (Steady(), KeepingResults(), Steady())]
    assert residues == [0, 0, 0]


class Growing:
    """A process gauge that replays a growth."""

    name = "process"

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = iter(sizes)

    def read(self) -> tuple[Figure, ...]:
        size = next(self._sizes)
        return Figure("footprint", size), Figure("anonymous", size)


@pytest.mark.parametrize(
    ("step", "wobble", "kind"), [(500_000, 0, "outside"), (0, 3 << 20, "unknown")]
)
def test_growth_outside_the_allocator_is_judged_by_slope(step: int, wobble: int, kind: str) -> None:
    sizes = [10**9 + step * n + wobble * (n % 3) for n in range(200)]
    audit = Audit()
    watch = Watch(audit, Growing(sizes), period=0.0)
    for number in range(1, 201):
        watch.look(number, outside=int)
    assert audit.verdict().kind == kind


def test_the_slope_outside_is_bytes_per_question() -> None:
    audit = Audit()
    for number in range(1, 400):
        audit.outside(number, 5_000 * number)
    assert audit.slope == 5_000


def test_a_series_stays_small_and_keeps_the_least() -> None:
    series = Series()
    for number in range(100_000):
        series.add(number, number)
    points = series.points()
    assert len(points) <= POINTS
    assert all(value == index for index, value in points)


def test_floors_can_be_judged_afterwards() -> None:
    assert judge([1000 + 2048 * n for n in range(50)]).rate == 2048
    assert judge([1000] * 50).kind == "steady"
