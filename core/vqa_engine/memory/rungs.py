"""The ladder as the governor walks it: before a question runs, not after it failed.

The rungs themselves are `vqa_engine.memory.ladder`'s, so that a plan means the same whether it
was chosen by prediction or after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator

from vqa_engine.adapter import LEVERS, GenerationPlan, Lever
from vqa_engine.memory.estimator import DEFAULT_STEP
from vqa_engine.memory.ladder import Ladder


def lossless(plan: GenerationPlan, levers: frozenset[Lever] = LEVERS) -> Iterator[GenerationPlan]:
    """Smaller prefill steps and encoder batches; the same text comes out of them."""
    return _below(plan, Ladder(standing_step=DEFAULT_STEP, levers=levers))


def lossy(plan: GenerationPlan, levers: frozenset[Lever] = LEVERS) -> Iterator[GenerationPlan]:
    """Plans that may change the text: a quantised KV cache, then smaller images."""
    ladder = Ladder(standing_step=DEFAULT_STEP, levers=levers, allow_lossy=True)
    for cheaper in _below(plan, ladder):
        if (cheaper.kv_bits, cheaper.image_longest_edge) != (plan.kv_bits, plan.image_longest_edge):
            yield cheaper


def _below(plan: GenerationPlan, ladder: Ladder) -> Iterator[GenerationPlan]:
    # Of all causes "too_big" is the one that ends when nothing cheaper is left.
    below = ladder.below(plan, "too_big")
    while below is not None:
        yield below
        below = ladder.below(below, "too_big")
