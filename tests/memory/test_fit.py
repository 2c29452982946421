"""Will it fit? Asked of figures that are known, without loading anything."""

from __future__ import annotations

import pytest

from tests.memory.adapters import Steady
from vqa_engine.adapter import NO_EDGE, GenerationPlan, ImageTokens, MemoryProfile, ModelRef
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.budget import Budget
from vqa_engine.memory.fit import examine, fit
from vqa_engine.memory.gauges import Figure, System
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.session.local import LocalSession

MIB, GIB = 1 << 20, 1 << 30

PHI = MemoryProfile(
    backend="mlx",
    weights=2_330_000_000,
    kv_per_token=384 * 1024,
    image_tokens=ImageTokens(per_tile=144, tile_edge=336, max_tiles=17, fixed=60),
    attention_per_pair=128,
    exact=True,
)
"""Phi-3.5-vision at 4 bits (docs/facts/models.md and memory.md)."""


def test_what_has_room_fits_as_asked() -> None:
    found = examine(PHI, Budget(16 * GIB, "given"), GenerationPlan(), lossy=False)
    assert found.fits
    assert found.plan == found.asked
    assert found.lines()[-1] == "It fits as asked."
    assert found.kv is not None
    assert found.kv > 900 * MIB


def test_a_smaller_step_makes_it_fit_where_attention_dominates() -> None:
    found = examine(PHI, Budget(3_500 * MIB, "given"), GenerationPlan(), lossy=False)
    assert found.fits
    assert found.plan.prefill_step is not None
    assert "prefill_step" in found.lines()[-1]
    assert found.peak is not None
    assert found.peak <= 3_500 * MIB


def test_lossy_plans_are_found_only_when_allowed() -> None:
    tight = Budget(2_900 * MIB, "given")
    strict = examine(PHI, tight, GenerationPlan(), lossy=False)
    assert not strict.fits
    assert "allow lossy plans" in strict.lines()[-1]
    loose = examine(PHI, tight, GenerationPlan(), lossy=True)
    assert loose.fits
    assert loose.plan.kv_bits == 8


def test_counts_the_picture_that_the_plan_lets_through() -> None:
    whole = ImageTokens(per_tile=16_384, tile_edge=3584)
    image = ImageTokens(per_tile=3025, tile_edge=1536, unbounded=whole)
    qwen = MemoryProfile(image_tokens=image, image_longest_edge=1536, kv_per_token=1024)
    tokens = {
        edge: examine(
            qwen, Budget(None, "none"), GenerationPlan(image_longest_edge=edge), lossy=False
        )
        for edge in (None, 768, NO_EDGE)
    }
    assert [found.image and found.image.most for found in tokens.values()] == [3025, 757, 16_384]
    assert "up to 1536x1536 pixels: 3,025 tokens" in tokens[None].lines()[1]
    assert "up to 3584x3584 pixels: 16,384 tokens" in tokens[NO_EDGE].lines()[1]
    kv = [found.kv or 0 for found in tokens.values()]
    assert kv[1] < kv[0] < kv[2]


def test_without_a_limit_nothing_is_refused() -> None:
    found = examine(PHI, Budget(None, "no source"), GenerationPlan(), lossy=False)
    assert found.fits
    assert found.lines()[-1] == "Nothing speaks against it: a size or a limit is unknown."


class Sized(Steady):
    """Knows its checkpoint's needs before it is loaded."""

    def profile_of(self, model: ModelRef) -> MemoryProfile:
        return PHI


def test_a_run_refuses_early_in_the_words_of_fit() -> None:
    policy, adapter = MemoryPolicy(budget=2 * GIB), Sized()
    with pytest.raises(OutOfMemory) as error:
        LocalSession(adapter, ModelRef(), policy).load()
    assert adapter.loads == 0
    refused = fit(adapter, ModelRef(), policy=policy).refused
    assert refused is not None
    # Only the amount differs: fit speaks of the dearest image, a run gives up on the cheapest.
    assert str(refused).partition(", and")[2] == str(error.value).partition(", and")[2]


def test_an_estimate_never_refuses_a_run() -> None:
    class Estimated(Steady):
        def memory_profile(self) -> MemoryProfile:
            return MemoryProfile(backend="mlx", weights=100 * GIB)

    session = LocalSession(Estimated(), ModelRef(), MemoryPolicy(budget=GIB))
    session.load()
    session.release()


def test_fit_asks_the_adapter_and_loads_nothing() -> None:
    adapter = Sized()
    plenty = System(_Says(Figure("available", 64 * GIB)))
    assert fit(adapter, ModelRef(), system=plenty).fits
    assert adapter.loads == 0


class _Says:
    name = "available"

    def __init__(self, figure: Figure) -> None:
        self._figure = figure

    def read(self) -> tuple[Figure, ...]:
        return (self._figure,)
