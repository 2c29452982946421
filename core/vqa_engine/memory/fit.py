"""Will it fit? Answered from a checkpoint's headers, before any weight is read."""

from __future__ import annotations

from attrs import evolve, frozen

from vqa_engine.adapter import (
    GenerationPlan,
    ImageTokens,
    MemoryProfile,
    ModelAdapter,
    ModelRef,
    Sizable,
)
from vqa_engine.adapter.crossing import called, plain
from vqa_engine.adapter.strategy import CleanupStrategy, Described, describe
from vqa_engine.errors import AdapterInvalid, OutOfMemory
from vqa_engine.memory.backends import installed
from vqa_engine.memory.budget import Budget, expected, shown
from vqa_engine.memory.estimator import MARGIN, Estimator, stages
from vqa_engine.memory.gauges import System
from vqa_engine.memory.ladder import lossless
from vqa_engine.memory.ladder import lossy as lossy_plans
from vqa_engine.memory.planner import guess, refusal
from vqa_engine.memory.policy import MemoryPolicy

QUESTION = "What is the object to the left of the person in the middle of the picture?"
"""A long question; VQA v2 averages six words."""

ELSEWHERE = "none"
"""The memory backend of a model that holds nothing here, as behind another server."""


@frozen(kw_only=True)
class Fit:
    """What a checkpoint needs on this machine, in bytes; None where nobody knows.

    `kv` is one question's KV cache and `work` what its computation needs beside it,
    under `plan`: the first plan that fits, or the one asked for when none does. `image` is
    the most expensive picture under that plan, which is counted. `sure`
    says whether the figures are this checkpoint's or the adapter's estimate.
    """

    weights: int | None
    kv: int | None
    work: int | None
    prompt_tokens: int
    image: ImageTokens | None
    budget: Budget
    asked: GenerationPlan
    plan: GenerationPlan
    sure: bool
    refused: OutOfMemory | None = None

    @property
    def peak(self) -> int | None:
        """Weights, KV cache and work together."""
        parts = (self.weights, self.kv, self.work)
        return None if self.weights is None else sum(part or 0 for part in parts)

    @property
    def fits(self) -> bool:
        """Whether it can run here, as far as can be known before loading."""
        return self.refused is None

    def lines(self) -> tuple[str, ...]:
        """The finding, for people; the verdict is the last line."""
        origin = "this checkpoint's headers" if self.sure else "the adapter's estimate"
        return (
            f"weights          {shown(self.weights)} ({origin})",
            f"picture          {_pictured(self.image)}",
            f"KV cache         {shown(self.kv)} for {self.prompt_tokens} prompt tokens",
            f"work space       {shown(self.work)}",
            f"predicted peak   {shown(self.peak)}",
            f"memory budget    {self.budget}",
            self._verdict(),
        )

    def _verdict(self) -> str:
        if self.refused is not None:
            return str(self.refused)
        if self.budget.limit is None or self.weights is None:
            return "Nothing speaks against it: a size or a limit is unknown."
        if self.plan == self.asked:
            return "It fits as asked."
        return f"It fits with {_changes(self.asked, self.plan)}."


def fit(
    adapter: ModelAdapter,
    model: ModelRef,
    plan: GenerationPlan | None = None,
    policy: MemoryPolicy | None = None,
    system: System | None = None,
) -> Fit:
    """The fit check of `vqa-engine fit`: imports no model library, reads no weights.

    Raises:
        CheckpointError: the checkpoint's files cannot be reached or read.
    """
    policy, profile = policy or MemoryPolicy(), expected_profile(adapter, model)
    limit = expected(profile.backend, system or System(), policy.budget)
    return examine(profile, limit, plan or GenerationPlan(), lossy=policy.lossy)


def expected_profile(adapter: ModelAdapter, model: ModelRef) -> MemoryProfile:
    """The checkpoint's own profile where the adapter is `Sizable`, else its estimate.

    Raises:
        AdapterInvalid: it is no `MemoryProfile`, or a field of it does not fit.
    """
    if isinstance(adapter, Sizable):
        return _checked(adapter, "profile_of", called(adapter.profile_of, model))
    return loaded_profile(adapter)


def loaded_profile(adapter: ModelAdapter) -> MemoryProfile:
    """What the adapter's `memory_profile` says now.

    Raises:
        AdapterInvalid: as `expected_profile` does.
    """
    return _checked(adapter, "memory_profile", called(adapter.memory_profile))


def _checked(adapter: ModelAdapter, method: str, profile: object) -> MemoryProfile:
    """The profile, if the engine can use it."""
    try:
        found = _fitting(profile)
    except TypeError as error:
        raise AdapterInvalid(type(adapter).__name__, [f"{method}() returns {error}"]) from error
    return found


def _fitting(profile: object) -> MemoryProfile:
    """The profile with plain values, and its own strategies.

    Raises:
        TypeError: it does not fit, in words that follow "returns".
    """
    if not isinstance(profile, MemoryProfile):
        raise TypeError(f"a value of type {type(profile).__name__}, not a MemoryProfile")
    wanted = profile.strategies
    if not isinstance(wanted, tuple):
        raise TypeError(f"strategies of type {type(wanted).__name__}, not a tuple")
    for one in wanted:
        if not isinstance(one, CleanupStrategy):
            raise TypeError(f"{one!r} among its strategies, which is not a CleanupStrategy")
        plain(Described, called(describe, one))
    found = plain(MemoryProfile, evolve(profile, strategies=()))
    if found.backend not in installed():
        listed = ", ".join(installed())
        raise TypeError(f"the backend {found.backend!r}, but the installed ones are {listed}")
    sizes = [found.weights, found.kv_per_token, found.attention_per_pair, found.per_tile]
    if any(size is not None and size < 0 for size in sizes):
        raise TypeError("a negative size")
    if found.image_longest_edge is not None and found.image_longest_edge < 1:
        raise TypeError(f"an image_longest_edge of {found.image_longest_edge}")
    return evolve(found, strategies=wanted)


def refuse(profile: MemoryProfile, budget: Budget, *, lossy: bool) -> None:
    """Refuse a checkpoint that cannot fit, before it is loaded.

    An estimate is for another checkpoint perhaps, so only exact figures refuse, and only
    what no image could do: the cheapest one has to be too dear.

    Raises:
        OutOfMemory: in the words of `fit`.
    """
    if not profile.exact or profile.weights is None or budget.limit is None:
        return
    cheapest = evolve(profile, image_tokens=_smallest(profile.image_tokens))
    refused = examine(cheapest, budget, GenerationPlan(), lossy=lossy).refused
    if refused is not None:
        raise refused


def examine(profile: MemoryProfile, budget: Budget, plan: GenerationPlan, *, lossy: bool) -> Fit:
    """The first plan under which the profile fits in the budget, or why none does."""
    weights, levers = profile.weights or 0, profile.levers
    degraded = lossy_plans(plan, levers) if lossy else []
    plans = [plan, *lossless(plan, levers), *degraded]
    room = None if budget.limit is None else budget.limit - weights
    needs = {one: _need(profile, one, MARGIN) for one in plans}
    found = next((one for one in plans if room is None or sum(needs[one]) <= room), None)
    refused = None
    if found is None:
        # The margin narrows plans and refuses nothing: the narrowest one may be tried.
        found = min(plans, key=lambda one: sum(needs[one]))
        needs[found] = _need(profile, found, 0.0)
        least = sum(needs[found])
        if least > (room or 0):
            refused = refusal(least, weights, budget, allow_lossy=lossy)
            found = None
    kv, work = needs[found or plan]
    counted = _within(profile, found or plan)
    return Fit(
        weights=profile.weights,
        kv=kv if profile.kv_per_token else None,
        work=work if profile.attention_per_pair or profile.per_tile else None,
        prompt_tokens=guess(counted, QUESTION).prompt_tokens,
        image=counted.image_tokens,
        budget=budget,
        asked=plan,
        plan=found or plan,
        sure=profile.exact,
        refused=refused,
    )


def needed(profile: MemoryProfile, plan: GenerationPlan) -> int | None:
    """The bytes that a model needs for its most expensive image; None if nobody knows."""
    if profile.weights is None:
        return 0 if profile.backend == ELSEWHERE else None
    return examine(profile, Budget(None, ""), plan, lossy=False).peak


def _smallest(image: ImageTokens | None) -> ImageTokens | None:
    if image is None:
        return None
    return evolve(image, max_tiles=1, per_tile=1 if image.unbounded else image.per_tile)


def _within(profile: MemoryProfile, plan: GenerationPlan) -> MemoryProfile:
    """The profile with the most expensive picture that a plan lets through."""
    edge = plan.image_longest_edge or profile.image_longest_edge
    image = profile.image_tokens
    return evolve(profile, image_tokens=image and image.within(edge))


def _pictured(image: ImageTokens | None) -> str:
    if image is None:
        return "not counted: its number of tokens is not known"
    tiles = "" if image.max_tiles == 1 else f"{image.max_tiles} tiles of "
    return f"up to {tiles}{image.tile_edge}x{image.tile_edge} pixels: {image.most:,} tokens"


def _need(profile: MemoryProfile, plan: GenerationPlan, margin: float) -> tuple[int, int]:
    """(KV cache, work space with a margin) of a question under a plan."""
    profile = _within(profile, plan)
    cost = guess(profile, QUESTION)
    kv = (profile.kv_per_token or 0) * (cost.prompt_tokens + plan.max_tokens)
    if plan.kv_bits is not None and "kv_bits" in profile.levers:
        kv = kv * plan.kv_bits // 16
    whole = Estimator(profile).predict(stages(cost, plan))
    work = max(0.0, whole - (profile.kv_per_token or 0) * cost.prompt_tokens)
    return kv, round(work * (1.0 + margin))


def _changes(asked: GenerationPlan, plan: GenerationPlan) -> str:
    names = ("prefill_step", "encoder_batch", "kv_bits", "image_longest_edge")
    pairs = ((name, getattr(asked, name), getattr(plan, name)) for name in names)
    return ", ".join(f"{name}={new}" for name, old, new in pairs if new != old)
