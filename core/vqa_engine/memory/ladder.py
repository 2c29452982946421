"""The ladder of cheaper plans: before a question runs, and after it ran out of something.

It is one ladder, so that a plan means the same whether it was chosen by prediction or after a
crash.

Lossless rungs come first, because the same text comes out of them. Lossy ones have to
be allowed; their plan is recorded on the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from vqa_engine.adapter import LEVERS, GenerationPlan, Lever
from vqa_engine.memory.estimator import DEFAULT_STEP
from vqa_engine.results import Cause

_PREFILL_STEPS = (512, 128, 32)
"""Prompt tokens at once. Measured peaks above baseline: 2048 tokens 111.7 MiB, 512 41.3,
128 16.6, 32 12.0, with the same text and the same speed (docs/facts/memory.md)."""

_STEPS = (2048, 1024, 512, 256, 128, 64, 32)
_TILES = (16, 8, 4, 2, 1)
"""What a plan is narrowed to before it runs: half as much each time, down to where less
would save next to nothing (the same table)."""

_FIRST_STEP = 128
"""From a plan that leaves the step to the model: no standing step chosen by size is smaller,
so this is never dearer than what has just failed."""

_KV_BITS = 8
_IMAGE_EDGES = (1024, 512)
"""Lossy bounds on the longest edge, pixels: two and one tile of the common 512-pixel tilers."""

NEEDS_LESS: frozenset[Cause] = frozenset({"out_of_memory", "too_big", "watchdog"})
"""Causes that a smaller step cures. `too_big`: one attention buffer of a long prefill step
passes Metal's largest buffer (exo-explore/exo #1048). `watchdog`: one command buffer takes
too long, so the same plan would end the same way."""

_NEVER_AS_IT_IS: frozenset[Cause] = frozenset({"too_big", "watchdog"})
"""Causes that a fresh worker does not cure (docs/facts/memory.md, "Texts to classify")."""


@frozen(kw_only=True)
class Ladder:
    """The rungs below a plan.

    `standing_step` is the prefill step of plans that ask for none, as far as known.
    `levers` are what the model obeys: a rung that turns none of them is no rung.
    `allow_lossy` adds the rungs that may change the text; the lossless ones are then
    taken in one stride, because three workers are all that a question gets.
    """

    standing_step: int | None = None
    levers: frozenset[Lever] = LEVERS
    allow_lossy: bool = False

    def below(self, plan: GenerationPlan, cause: Cause) -> GenerationPlan | None:
        """The plan for the next try: cheaper, or the same one, or None to give up.

        `rung` rises by one with each cheaper plan; a mere restart leaves it.
        """
        if cause not in NEEDS_LESS:
            return plan
        cheaper = self._smaller_step(plan) or self._lossy(plan)
        if cheaper is not None:
            return evolve(cheaper, rung=plan.rung + 1)
        return None if cause in _NEVER_AS_IT_IS else plan

    def all_below(self, plan: GenerationPlan) -> Iterator[GenerationPlan]:
        """Every cheaper plan, the next one first."""
        # Of all causes "too_big" is the one that ends when nothing cheaper is left.
        below = self.below(plan, "too_big")
        while below is not None:
            yield below
            below = self.below(below, "too_big")

    def _smaller_step(self, plan: GenerationPlan) -> GenerationPlan | None:
        if "prefill_step" not in self.levers:
            return self._smaller_batch(plan)
        now = plan.prefill_step or self.standing_step
        steps = [step for step in _PREFILL_STEPS if step < (now or _FIRST_STEP + 1)]
        if not steps:
            return None
        step = steps[-1] if self.allow_lossy else steps[0]
        cheaper = evolve(plan, prefill_step=step)
        return self._smaller_batch(cheaper) or cheaper

    def _smaller_batch(self, plan: GenerationPlan) -> GenerationPlan | None:
        """It comes with a smaller step; alone only where a model knows no steps."""
        if "encoder_batch" not in self.levers or plan.encoder_batch == 1:
            return None
        return evolve(plan, encoder_batch=1)

    def _lossy(self, plan: GenerationPlan) -> GenerationPlan | None:
        if not self.allow_lossy:
            return None
        if "kv_bits" in self.levers and (plan.kv_bits is None or plan.kv_bits > _KV_BITS):
            return evolve(plan, kv_bits=_KV_BITS)
        if "image_longest_edge" not in self.levers:
            return None
        edges = [e for e in _IMAGE_EDGES if e < (plan.image_longest_edge or _IMAGE_EDGES[0] + 1)]
        return evolve(plan, image_longest_edge=edges[0]) if edges else None


def widths(plan: GenerationPlan, lever: Lever, levers: frozenset[Lever]) -> list[int | None]:
    """What a lossless lever may be set to under a plan, the widest first: what it asks for."""
    asked: int | None = getattr(plan, lever)
    if lever not in levers:
        return [asked]
    narrower = {"prefill_step": _STEPS, "encoder_batch": _TILES}[lever]
    return [asked, *(width for width in narrower if asked is None or width < asked)]


def lossless(plan: GenerationPlan, levers: frozenset[Lever] = LEVERS) -> list[GenerationPlan]:
    """Smaller prefill steps and encoder batches; the same text comes out of them."""
    return list(Ladder(standing_step=DEFAULT_STEP, levers=levers).all_below(plan))


def lossy(plan: GenerationPlan, levers: frozenset[Lever] = LEVERS) -> list[GenerationPlan]:
    """Plans that may change the text: a quantised KV cache, then smaller images."""
    ladder = Ladder(standing_step=DEFAULT_STEP, levers=levers, allow_lossy=True)
    asked = (plan.kv_bits, plan.image_longest_edge)
    cheaper = ladder.all_below(plan)
    return [one for one in cheaper if (one.kv_bits, one.image_longest_edge) != asked]
