"""Plan, don't react: makes a question fit the budget before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import evolve, frozen

from vqa_engine.adapter import (
    Answer,
    CostAware,
    GenerationPlan,
    Lever,
    MemoryProfile,
    ModelAdapter,
    Moment,
    Question,
    QuestionCost,
)
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.budget import Budget, shown
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.estimator import Estimator, Stages, stages
from vqa_engine.memory.rungs import lossless, lossy

CHARACTERS_PER_TOKEN = 3
"""English text has about four characters per token; three errs on the safe side."""

TEMPLATE_TOKENS = 48
"""A chat template with its short-answer instruction."""

HALF_BITS = 16


@frozen
class Planned:
    """A plan and what it is expected to need above the floor, in bytes."""

    plan: GenerationPlan
    cost: QuestionCost
    stages: Stages
    expected: float
    bound: int


class Planner:
    """Finds the first plan that fits, lossless ones first.

    The order is: clear the pool, smaller prefill steps, the adapter's own caches, a
    fresh process; then, only when allowed, lossy plans; last, a refusal. As long as
    nothing at all is known, a `cautious` planner takes the smallest lossless plan: it
    serves a caller who gave a budget.
    """

    def __init__(
        self,
        estimator: Estimator,
        controls: MemoryControls,
        *,
        adapter: ModelAdapter | None = None,
        allow_lossy: bool = False,
        cautious: bool = False,
    ) -> None:
        self.estimator, self.controls = estimator, controls
        self._cautious = cautious
        self._allow_lossy = allow_lossy
        self._batches = "encoder_batch" in controls.profile.levers
        self._guesses = not isinstance(adapter, CostAware)
        self._cost: Callable[[Sequence[Question], GenerationPlan], QuestionCost] = (
            adapter.cost if isinstance(adapter, CostAware) else self._guess
        )

    def weigh(self, question: Question, plan: GenerationPlan) -> Planned:
        """What a plan is expected to need."""
        return self._weighed(self._cost([question], plan), plan)

    def weigh_together(self, questions: Sequence[Question], first: Planned) -> Planned | None:
        """What these need together under the plan of the first; None if nobody can say."""
        if self._guesses:
            return None
        return self._weighed(self._cost(questions, first.plan), first.plan)

    def _weighed(self, cost: QuestionCost, plan: GenerationPlan) -> Planned:
        through = stages(cost, plan if self._batches else evolve(plan, encoder_batch=None))
        expected, bound = self.estimator.predict(through), self.estimator.bound(through)
        saved = self._saved_by_quantising(cost, plan)
        return Planned(plan, cost, through, max(0.0, expected - saved), max(0, bound - saved))

    def corrected(self, planned: Planned, answer: Answer) -> QuestionCost:
        """The cost as the answer tells it: a guess gives way to the true token count.

        An answer whose plan has lost its encoder batch says that this model encodes all
        tiles at once, whatever it is asked.
        """
        if planned.plan.encoder_batch is not None:
            self._batches = answer.plan.encoder_batch is not None
        if not self._guesses or answer.tokens is None:
            return planned.cost
        return evolve(planned.cost, prompt_tokens=answer.tokens.prompt)

    def plan(
        self, question: Question, plan: GenerationPlan, moment: Moment, budget: Budget
    ) -> Planned:
        """The first plan that fits in the budget.

        Raises:
            OutOfMemory: none does. When a fresh process would help, `controls.recycle`
                says so.
        """
        asked, known = self.weigh(question, plan), self.estimator.known
        if budget.limit is not None and moment.held + asked.bound > budget.limit:
            asked = self._replan(question, asked, moment, budget.limit) or self._refuse(
                question, asked, moment, budget
            )
        elif self._cautious and not known:
            asked = [asked, *self._lossless(question, asked)][-1]
        moment.predicted = asked.bound if known else None
        return asked

    def _replan(
        self, question: Question, asked: Planned, moment: Moment, limit: int
    ) -> Planned | None:
        """Each measure in turn, the gentlest first; None when all are spent."""
        return (
            self._after("clear_cache", asked, [], moment, limit)
            or self._first(self._lossless(question, asked), moment, limit)
            or self._without_caches(question, asked, moment, limit)
            or self._untried(question, asked, moment, limit)
            or self._afresh(question, asked, moment, limit)
            or self._degraded(question, asked, moment, limit)
        )

    def _after(
        self, call: str, asked: Planned, others: Iterable[Planned], moment: Moment, limit: int
    ) -> Planned | None:
        """The first plan that fits once `call` has freed what it can."""
        if self.controls.has(call):
            self.controls.act("plan", call, f"predicted {shown(asked.bound)} above the floor")
            reading = self.controls.backend.read()
            moment.active, moment.cache = reading.active, reading.cache
        return self._first([asked, *others], moment, limit)

    def _first(self, plans: Iterable[Planned], moment: Moment, limit: int) -> Planned | None:
        room = limit - moment.held
        return next((one for one in plans if one.bound <= room), None)

    def _without_caches(
        self, question: Question, asked: Planned, moment: Moment, limit: int
    ) -> Planned | None:
        if not self.controls.has("drop_caches"):
            return None
        self.controls.act("plan", "drop_caches")
        fresh = self.weigh(question, asked.plan)  # what was reused must be computed again
        return self._after("clear_cache", fresh, self._lossless(question, asked), moment, limit)

    def _afresh(
        self, question: Question, asked: Planned, moment: Moment, limit: int
    ) -> Planned | None:
        """Ask for a fresh process, if giving back what stayed since load would do."""
        room = limit - moment.held + moment.rise
        least = min(plan.bound for plan in (asked, *self._lossless(question, asked)))
        if moment.rise <= 0 or least > room:
            return None
        reason = f"{shown(moment.rise)} stayed since load, and the next question needs them"
        self.controls.ask_recycle("plan", reason)
        raise OutOfMemory(f"A fresh process is needed: {reason}.", budget=limit)

    def _untried(
        self, question: Question, asked: Planned, moment: Moment, limit: int
    ) -> Planned | None:
        """The smallest lossless plan, if it was never measured and its KV cache fits.

        An extrapolated prediction is no ground for a refusal.
        """
        plans = self._lossless(question, asked)
        if not plans or self.estimator.has_seen(plans[-1].stages):
            return None
        certain = (self.controls.profile.kv_per_token or 0) * plans[-1].cost.prompt_tokens
        return plans[-1] if moment.held + certain <= limit else None

    def _degraded(
        self, question: Question, asked: Planned, moment: Moment, limit: int
    ) -> Planned | None:
        if not self._allow_lossy:
            return None
        plans = (self.weigh(question, plan) for plan in lossy(asked.plan, self._levers))
        return self._first(plans, moment, limit)

    def _lossless(self, question: Question, asked: Planned) -> list[Planned]:
        return [self.weigh(question, plan) for plan in lossless(asked.plan, self._levers)]

    def _refuse(
        self, question: Question, asked: Planned, moment: Moment, budget: Budget
    ) -> Planned:
        least = min((asked, *self._lossless(question, asked)), key=lambda plan: plan.bound)
        raise refusal(least.bound, moment.held, budget, allow_lossy=self._allow_lossy)

    def _saved_by_quantising(self, cost: QuestionCost, plan: GenerationPlan) -> int:
        if plan.kv_bits is None or "kv_bits" not in self._levers:
            return 0
        whole = (self.controls.profile.kv_per_token or 0) * cost.prompt_tokens
        return whole * (HALF_BITS - plan.kv_bits) // HALF_BITS

    @property
    def _levers(self) -> frozenset[Lever]:
        return self.controls.profile.levers

    def _guess(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return guess(self.controls.profile, questions[0].text)


def guess(profile: MemoryProfile, text: str) -> QuestionCost:
    """An upper bound of a question's cost, from the profile and the text's length."""
    image = profile.image_tokens
    words = len(text) // CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS
    if image is None:
        return QuestionCost(prompt_tokens=words)
    return QuestionCost(prompt_tokens=words + image.most, image_tiles=image.max_tiles)


def refusal(needed: int, held: int, budget: Budget, *, allow_lossy: bool) -> OutOfMemory:
    """The typed refusal; `fit` and a run say it in the same words."""
    ways = "a larger memory budget or a smaller checkpoint"
    if not allow_lossy:
        ways += ", or allow lossy plans (quantised KV cache, smaller image)"
    return OutOfMemory(
        f"It does not fit: {shown(needed)} are needed above the {shown(held)} that are held, "
        f"and the memory budget is {budget}. No cheaper plan is left; use {ways}.",
        needed=needed + held,
        budget=budget.limit,
    )
