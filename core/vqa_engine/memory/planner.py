"""Plan, don't react: makes a question fit the budget before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from vqa_engine.memory.ladder import lossless, lossy

_CHARACTERS_PER_TOKEN = 3
"""English text has about four characters per token; three errs on the safe side."""

_TEMPLATE_TOKENS = 48
"""A chat template with its short-answer instruction."""

_HALF_BITS = 16


@frozen
class Planned:
    """A plan and what it is expected to need above the floor, in bytes.

    `teaches` says whether the estimator may learn from it: `cost` and `stages` are those of
    all the questions that are answered together.
    """

    plan: GenerationPlan
    cost: QuestionCost
    stages: Stages
    expected: float
    bound: int
    teaches: bool = True


class Planner:
    """Finds the first plan that fits, lossless ones first.

    The order is: clear the pool, smaller prefill steps; for one question also the adapter's
    own caches, a fresh process, and, only when allowed, lossy plans; last, a refusal. As
    long as nothing at all is known, a `cautious` planner chooses the smallest lossless plan:
    it serves a caller who gave a budget.
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
        self._cost = adapter.cost if isinstance(adapter, CostAware) else None
        self._questions: Sequence[Question] = ()
        self._costs: dict[GenerationPlan, QuestionCost] = {}

    def plan(
        self, questions: Sequence[Question], plan: GenerationPlan, moment: Moment, budget: Budget
    ) -> Planned | None:
        """The first plan under which these questions fit in the budget together.

        None when several do not.

        Raises:
            OutOfMemory: a single one fits under no plan. When a fresh process would help,
                `controls.recycle` says so.
        """
        self._questions, self._costs = questions, {}
        known, asked = self.estimator.known, self._weigh(plan)
        found: Planned | None = asked
        if budget.limit is not None and moment.held + asked.bound > budget.limit:
            found = self._replan(asked, moment, budget, budget.limit)
        elif self._cautious and not known:
            found = self._plans(plan)[-1]
        moment.predicted = found.bound if found and known else None
        return found

    def corrected(self, planned: Planned, answer: Answer) -> QuestionCost:
        """The cost after the answer: a guess is replaced by the true token count.

        An answer whose plan has lost its encoder batch says that this model encodes all
        tiles at once, whatever it is asked.
        """
        if planned.plan.encoder_batch is not None:
            self._batches = answer.plan.encoder_batch is not None
        if self._cost is not None or answer.tokens is None:
            return planned.cost
        return evolve(planned.cost, prompt_tokens=answer.tokens.prompt)

    def _weigh(self, plan: GenerationPlan) -> Planned:
        """What a plan is expected to need.

        Without `CostAware` each question may need as much as the first, and what they
        needed together teaches nothing.
        """
        cost = self._cost_under(plan)
        through = stages(cost, plan if self._batches else evolve(plan, encoder_batch=None))
        expected, bound = self.estimator.predict(through), self.estimator.bound(through)
        saved = self._saved_by_quantising(cost, plan)
        expected, bound = max(0.0, expected - saved), max(0, bound - saved)
        each = 1 if self._cost else len(self._questions)
        return Planned(plan, cost, through, expected * each, bound * each, teaches=each == 1)

    def _cost_under(self, plan: GenerationPlan) -> QuestionCost:
        """The adapter is asked once for all plans that cost the same."""
        key = evolve(plan, prefill_step=None, encoder_batch=None, rung=0)
        if key not in self._costs:
            self._costs[key] = (
                self._cost(self._questions, plan)
                if self._cost
                else guess(self.controls.profile, self._questions[0].text)
            )
        return self._costs[key]

    def _plans(self, plan: GenerationPlan) -> list[Planned]:
        """The plan that was asked for, then the cheaper lossless ones."""
        return [self._weigh(one) for one in (plan, *lossless(plan, self._levers))]

    def _replan(self, asked: Planned, moment: Moment, budget: Budget, limit: int) -> Planned | None:
        """Each measure in turn, the gentlest first."""
        found = self._cleared(asked, moment, limit)
        if found is not None or len(self._questions) > 1:
            return found
        if self.controls.has("drop_caches"):
            self.controls.act("plan", "drop_caches")
            self._costs = {}  # what was reused must be computed again
            found = self._cleared(asked, moment, limit)
        return (
            found
            or self._untried(asked, moment, limit)
            or self._afresh(asked, moment, limit)
            or self._degraded(asked, moment, limit)
            or self._refuse(asked, moment, budget)
        )

    def _cleared(self, asked: Planned, moment: Moment, limit: int) -> Planned | None:
        """The first lossless plan that fits once the pool is cleared."""
        if self.controls.has("clear_cache"):
            detail = f"predicted {shown(asked.bound)} above the floor"
            self.controls.act("plan", "clear_cache", detail)
            reading = self.controls.backend.read()
            moment.active, moment.cache = reading.active, reading.cache
        return _first(self._plans(asked.plan), limit - moment.held)

    def _untried(self, asked: Planned, moment: Moment, limit: int) -> Planned | None:
        """The smallest lossless plan, if it was never measured and its KV cache fits.

        An extrapolated prediction is no ground for a refusal.
        """
        smallest = self._plans(asked.plan)[-1]
        if smallest.plan == asked.plan or self.estimator.has_seen(smallest.stages):
            return None
        certain = (self.controls.profile.kv_per_token or 0) * smallest.cost.prompt_tokens
        return smallest if moment.held + certain <= limit else None

    def _afresh(self, asked: Planned, moment: Moment, limit: int) -> Planned | None:
        """Ask for a fresh process, if giving back what stayed since load would do."""
        least = min(plan.bound for plan in self._plans(asked.plan))
        if moment.rise <= 0 or least > limit - moment.held + moment.rise:
            return None
        reason = f"{shown(moment.rise)} were never freed and are needed now"
        self.controls.ask_recycle("plan", reason)
        raise OutOfMemory(f"A fresh process is needed: {reason}.", budget=limit)

    def _degraded(self, asked: Planned, moment: Moment, limit: int) -> Planned | None:
        if not self._allow_lossy:
            return None
        plans = (self._weigh(plan) for plan in lossy(asked.plan, self._levers))
        return _first(plans, limit - moment.held)

    def _refuse(self, asked: Planned, moment: Moment, budget: Budget) -> Planned:
        least = min(plan.bound for plan in self._plans(asked.plan))
        raise refusal(least, moment.held, budget, allow_lossy=self._allow_lossy)

    def _saved_by_quantising(self, cost: QuestionCost, plan: GenerationPlan) -> int:
        if plan.kv_bits is None or "kv_bits" not in self._levers:
            return 0
        whole = (self.controls.profile.kv_per_token or 0) * cost.prompt_tokens
        return whole * (_HALF_BITS - plan.kv_bits) // _HALF_BITS

    @property
    def _levers(self) -> frozenset[Lever]:
        return self.controls.profile.levers


def _first(plans: Iterable[Planned], room: int) -> Planned | None:
    return next((one for one in plans if one.bound <= room), None)


def guess(profile: MemoryProfile, text: str) -> QuestionCost:
    """An upper bound of a question's cost, from the profile and the text's length."""
    image = profile.image_tokens
    words = len(text) // _CHARACTERS_PER_TOKEN + _TEMPLATE_TOKENS
    if image is None:
        return QuestionCost(prompt_tokens=words)
    return QuestionCost(prompt_tokens=words + image.most, image_tiles=image.max_tiles)


def refusal(needed: int, held: int, budget: Budget, *, allow_lossy: bool) -> OutOfMemory:
    """The typed refusal, in the same words for `fit` and a run."""
    ways = "a larger memory budget or a smaller checkpoint"
    if not allow_lossy:
        ways += ", or allow lossy plans (quantised KV cache, smaller image)"
    return OutOfMemory(
        f"It does not fit: {shown(needed)} are needed above the {shown(held)} that are held, "
        f"and the memory budget is {budget}. No cheaper plan is left; use {ways}.",
        needed=needed + held,
        budget=budget.limit,
    )
