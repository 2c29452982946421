"""Plan, don't react: makes a question fit the budget before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
from vqa_engine.adapter.crossing import called, plain
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.budget import Budget, shown
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.estimator import Estimator, Stages, stages
from vqa_engine.memory.ladder import lossy, widths

_CHARACTERS_PER_TOKEN = 3
"""English text has about four characters per token; three errs on the safe side."""

_TEMPLATE_TOKENS = 48
"""A chat template with its short-answer instruction."""

_HALF_BITS = 16

_GRACE = 0.12
"""By what share the expected need of the narrowest plan may be too high: it is tried before
anything is refused. Later predictions were off by 2 to 5 % on average."""

_LOSSLESS: tuple[Lever, Lever] = ("prefill_step", "encoder_batch")


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
    """Finds the widest plan that fits: as fast as the backend can go, and no faster than fits.

    A plan that is narrowed has fewer questions first, then fewer tiles, then smaller prefill
    steps, and each no smaller than is needed. Caches, a fresh process and, only when
    allowed, lossy plans come after that; a refusal is last. What narrows a plan is the
    bound of its need, prediction and margin. The narrowest one is tried as long as the need
    itself may fit.

    A `cautious` planner serves a caller who gave a budget: it trusts a prediction no further
    than measured needs reach.
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
        self._ask(())

    def plan(
        self, questions: Sequence[Question], plan: GenerationPlan, moment: Moment, budget: Budget
    ) -> Planned | None:
        """The widest plan under which these questions fit in the budget together.

        None when several do not.

        Raises:
            OutOfMemory: a single one fits under no plan. When a fresh process would help,
                `controls.recycle` says so.
        """
        self._ask(questions)
        known, asked = self.estimator.known, self._weigh(plan)
        found: Planned | None = asked
        if budget.limit is not None:
            room = budget.limit - moment.held
            if self._blind and len(questions) > 1:
                return None  # one alone teaches what they need
            if self._blind or asked.bound > room:
                found = self._replan(asked, moment, budget, budget.limit)
        moment.predicted = found.bound if found and known else None
        return found

    def _ask(self, questions: Sequence[Question]) -> None:
        self._questions, self._costs = questions, dict[GenerationPlan, QuestionCost]()

    @property
    def _blind(self) -> bool:
        """Whether nothing was measured yet: on thin models a first guess is off by factors."""
        return self._cautious and not self.estimator.learned

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

    def stages(self, cost: QuestionCost, plan: GenerationPlan) -> Stages:
        """The regressors of questions under a plan, as far as this model obeys it."""
        if self._batches:
            return stages(cost, plan)
        return stages(cost, evolve(plan, encoder_batch=None), beside=True)

    def _weigh(self, plan: GenerationPlan) -> Planned:
        """What a plan is expected to need.

        Without `CostAware` each question may need as much as the first, and what they
        needed together teaches nothing.
        """
        cost = self._cost_under(plan)
        through = self.stages(cost, plan)
        expected = self.estimator.predict(through)
        bound = self.estimator.bound(through)
        saved = self._saved_by_quantising(cost, plan)
        expected, bound = max(0.0, expected - saved), max(0, bound - saved)
        each = 1 if self._cost else len(self._questions)
        return Planned(plan, cost, through, expected * each, bound * each, teaches=each == 1)

    def _cost_under(self, plan: GenerationPlan) -> QuestionCost:
        """The adapter is asked once for all plans that cost the same."""
        key = evolve(plan, prefill_step=None, encoder_batch=None, rung=0)
        if key not in self._costs:
            self._costs[key] = (
                plain(QuestionCost, called(self._cost, self._questions, plan))
                if self._cost
                else guess(self.controls.profile, self._questions[0].text)
            )
        return self._costs[key]

    def _narrowed(self, plan: GenerationPlan, room: int) -> Planned | None:
        """The widest lossless plan that fits: the widest step, then with it the most tiles.

        The encoder runs before the prefill, so each lever has to fit by itself. None before
        anything is known.
        """
        if self._blind:
            return None
        steps, tiles = (widths(plan, lever, self._levers) for lever in _LOSSLESS)
        fewest = tiles[-1]
        pairs = ((plan, step, fewest) for step in steps)
        found = _first((self._with(*one) for one in pairs), room)
        if found is None:
            return None
        step = found.plan.prefill_step
        return _first((self._with(plan, step, many) for many in tiles), room)

    def _narrowest(self, plan: GenerationPlan) -> Planned:
        steps, tiles = (widths(plan, lever, self._levers) for lever in _LOSSLESS)
        return self._with(plan, steps[-1], tiles[-1])

    def _with(self, plan: GenerationPlan, step: int | None, tiles: int | None) -> Planned:
        if (step, tiles) == (plan.prefill_step, plan.encoder_batch):
            return self._weigh(plan)
        return self._weigh(evolve(plan, prefill_step=step, encoder_batch=tiles, rung=plan.rung + 1))

    def _replan(self, asked: Planned, moment: Moment, budget: Budget, limit: int) -> Planned | None:
        """Each measure in turn, the gentlest first."""
        self._clear(asked, moment)
        room = limit - moment.held
        if len(self._questions) > 1:
            return self._together(asked.plan, room)
        found = self._narrowed(asked.plan, room)
        if found is None and self.controls.has("drop_caches"):
            self.controls.act("plan", "drop_caches")
            self._ask(self._questions)  # what was reused must be computed again
            self._clear(asked, moment)
            room = limit - moment.held
            found = self._narrowed(asked.plan, room)
        narrowest = self._narrowest(asked.plan)
        return (
            found
            or self._tried(narrowest, room, narrowest.expected)
            or self._untried(narrowest, room)
            or self._afresh(narrowest, moment, limit)
            or self._degraded(asked, room)
            or self._tried(narrowest, room, narrowest.expected / (1.0 + _GRACE))
            or self._refuse(narrowest, moment, budget)
        )

    def _together(self, plan: GenerationPlan, room: int) -> Planned | None:
        """Several questions under the plan that the first alone would get, if that fits."""
        questions = self._questions
        self._ask(questions[:1])
        alone = self._narrowed(plan, room)
        self._ask(questions)
        if alone is None:
            return None
        planned = self._weigh(alone.plan)
        return planned if planned.bound <= room else None

    def _clear(self, asked: Planned, moment: Moment) -> None:
        """Give the pool back, and see what is held then."""
        if self.controls.has("clear_cache"):
            detail = f"predicted {shown(asked.bound)} above the floor"
            self.controls.act("plan", "clear_cache", detail)
            reading = self.controls.backend.read()
            moment.active, moment.cache = reading.active, reading.cache

    @staticmethod
    def _tried(narrowest: Planned, room: int, need: float) -> Planned | None:
        """The narrowest plan, if it may fit: a worker survives a try that does not."""
        return narrowest if need <= room else None

    def _untried(self, narrowest: Planned, room: int) -> Planned | None:
        """The narrowest plan, if it was never measured and its KV cache fits.

        An extrapolated prediction is no ground for a refusal.
        """
        if self.estimator.has_seen(narrowest.stages):
            return None
        certain = (self.controls.profile.kv_per_token or 0) * narrowest.cost.prompt_tokens
        return narrowest if certain <= room else None

    def _afresh(self, narrowest: Planned, moment: Moment, limit: int) -> Planned | None:
        """Ask for a fresh process, if giving back what stayed since load would do."""
        if moment.rise <= 0 or narrowest.expected > limit - moment.held + moment.rise:
            return None
        reason = f"{shown(moment.rise)} were never freed and are needed now"
        self.controls.ask_recycle("plan", reason)
        raise OutOfMemory(f"A fresh process is needed: {reason}.", budget=limit)

    def _degraded(self, asked: Planned, room: int) -> Planned | None:
        if not self._allow_lossy:
            return None
        plans = (self._weigh(plan) for plan in lossy(asked.plan, self._levers))
        return _first(plans, room)

    def _refuse(self, narrowest: Planned, moment: Moment, budget: Budget) -> Planned:
        needed = round(narrowest.expected)
        raise refusal(needed, moment.held, budget, allow_lossy=self._allow_lossy)

    def _saved_by_quantising(self, cost: QuestionCost, plan: GenerationPlan) -> int:
        if plan.kv_bits is None or "kv_bits" not in self._levers:
            return 0
        whole = (self.controls.profile.kv_per_token or 0) * cost.prompt_tokens
        return whole * (_HALF_BITS - plan.kv_bits) // _HALF_BITS

    @property
    def _levers(self) -> Mapping[Lever, int]:
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
