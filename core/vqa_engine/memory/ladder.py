"""The ladder of cheaper plans: before a question runs, and after it ran out of something.

It is one ladder, so that a plan means the same whether it was chosen by prediction or after a
crash.

Lossless rungs come first, because the same text comes out of them. Lossy ones have to
be allowed; their plan is recorded on the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, field, frozen

from vqa_engine.adapter import LEAST, LEVERS, GenerationPlan, Lever
from vqa_engine.adapter.memory import bounded
from vqa_engine.memory.estimator import DEFAULT_STEP
from vqa_engine.results import Cause

_PREFILL_STEPS = (512, 128, 32)
"""Prompt tokens at once. Measured peaks above baseline: 2048 tokens 111.7 MiB, 512 41.3,
128 16.6, 32 12.0, with the same text and the same speed (docs/facts/memory.md)."""

_MOST: Mapping[Lever, int] = {"prefill_step": DEFAULT_STEP, "encoder_batch": 16}
"""Where a plan that leaves a lever to the model is narrowed from before it runs: half as much
each time, down to the lever's bound."""

_FIRST_STEP = 128
"""From a plan that leaves the step to the model: no standing step chosen by size is smaller,
so this is never dearer than what has just failed."""

_FIRST_EDGE = 1024
"""The first lossy bound on the longest edge, pixels: two tiles of the common 512-pixel tilers.
The next are half as much each."""

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
    `levers` are what the model obeys, with their bounds: a rung that turns none of them, or
    one below its bound, is no rung.
    `allow_lossy` adds the rungs that may change the text; the lossless ones are then
    taken in one stride, because three workers are all that a question gets.
    """

    standing_step: int | None = None
    levers: Mapping[Lever, int] = field(default=LEVERS, converter=bounded)
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
        least = self.levers["prefill_step"]
        steps = [step for step in _PREFILL_STEPS if least <= step < (now or _FIRST_STEP + 1)]
        if not steps:
            return None
        step = steps[-1] if self.allow_lossy else steps[0]
        cheaper = evolve(plan, prefill_step=step)
        return self._smaller_batch(cheaper) or cheaper

    def _smaller_batch(self, plan: GenerationPlan) -> GenerationPlan | None:
        """It comes with a smaller step; alone only where a model knows no steps."""
        least = self.levers.get("encoder_batch")
        if least is None or (plan.encoder_batch or least + 1) <= least:
            return None
        return evolve(plan, encoder_batch=least)

    def _lossy(self, plan: GenerationPlan) -> GenerationPlan | None:
        if not self.allow_lossy:
            return None
        bits, edge = self.levers.get("kv_bits"), self.levers.get("image_longest_edge")
        if bits is not None and (plan.kv_bits is None or plan.kv_bits > bits):
            return evolve(plan, kv_bits=bits)
        if edge is None:
            return None
        now = plan.image_longest_edge or 2 * _FIRST_EDGE
        smaller = max(edge, min(_FIRST_EDGE, now // 2))
        return evolve(plan, image_longest_edge=smaller) if smaller < now else None


def widths(plan: GenerationPlan, lever: Lever, levers: Mapping[Lever, int]) -> list[int | None]:
    """What a lossless lever may be set to under a plan, the widest first: what it asks for."""
    asked: int | None = getattr(plan, lever)
    found, least = [asked], levers.get(lever)
    width = _MOST[lever]
    while least is not None and width >= least:
        if asked is None or width < asked:
            found.append(width)
        width = max(width // 2, least) if width > least else 0
    return found


def lossless(plan: GenerationPlan, levers: Mapping[Lever, int] = LEAST) -> list[GenerationPlan]:
    """Smaller prefill steps and encoder batches; the same text comes out of them."""
    return list(Ladder(standing_step=DEFAULT_STEP, levers=levers).all_below(plan))


def lossy(plan: GenerationPlan, levers: Mapping[Lever, int] = LEAST) -> list[GenerationPlan]:
    """Plans that may change the text: a quantised KV cache, then smaller images."""
    ladder = Ladder(standing_step=DEFAULT_STEP, levers=levers, allow_lossy=True)
    asked = (plan.kv_bits, plan.image_longest_edge)
    cheaper = ladder.all_below(plan)
    return [one for one in cheaper if (one.kv_bits, one.image_longest_edge) != asked]
