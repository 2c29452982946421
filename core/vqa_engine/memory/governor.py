"""The governor: binds the strategies an adapter declares, plans, accounts and audits.

It lives beside the model, in whatever process that is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    Bound,
    CleanupStrategy,
    GenerationPlan,
    Lever,
    MemoryProfile,
    MemoryReading,
    ModelAdapter,
    Moment,
    Question,
    QuestionId,
)
from vqa_engine.adapter.crossing import called, plain
from vqa_engine.adapter.strategy import VERDICT
from vqa_engine.errors import BackendError, VqaEngineError
from vqa_engine.memory.audit import Audit
from vqa_engine.memory.backend import MemoryBackend
from vqa_engine.memory.backends import backend
from vqa_engine.memory.budget import Budget, budget
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.estimator import Estimator
from vqa_engine.memory.gauges import System
from vqa_engine.memory.inspector import Inspector
from vqa_engine.memory.planner import Planned, Planner
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import EncoderBatch, PrefillStep
from vqa_engine.memory.watch import Watch
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import LeakVerdict, MemoryEvent, MemoryPrediction

log = logging.getLogger(__name__)

_FRUGAL: Mapping[Lever, CleanupStrategy] = {
    "prefill_step": PrefillStep(256),
    "encoder_batch": EncoderBatch(2),
}
"""Small pieces: on an H200 63 % of Phi-3.5-vision's peak for 82 % of its speed (docs/memory.md)."""

_CLOSE = 0.95
"""Past this share of what a question is expected to need, a library that runs ahead waits. Its
peak is then the limit and the buffer that passed it: with the whole need peaks creep up, and with
less they sink for hundreds of questions, and predictions lag behind (docs/facts/gpu.md, "The limit
sets the peak")."""

_DECODING = 64 << 20
"""Bytes that a step of decoding has beside the KV cache, amply: the logits of sixteen questions
over 256,000 tokens are 16 MiB. Before any need was measured this is all that is allowed."""

_Narrow = Callable[[GenerationPlan], GenerationPlan]
_Hook = Callable[[Moment], None]


class Governor:
    """Keeps one model's memory in bounds.

    `floor` is what the backend held before the model was loaded, and `settle` must come
    back to it. `budget` is what the backend may hold now. `prediction` is the last
    question's, with its truth.
    """

    def __init__(
        self,
        profile: MemoryProfile,
        policy: MemoryPolicy | None = None,
        *,
        adapter: ModelAdapter | None = None,
        system: System | None = None,
        memory: MemoryBackend | None = None,
    ) -> None:
        self.backend: MemoryBackend = memory or backend(profile.backend, profile.device)
        self.floor = self.backend.read().active
        self.prediction: MemoryPrediction | None = None
        self._policy, self._adapter = policy or MemoryPolicy(), adapter
        self._system = system or System()
        self._counts = self.floor is not None
        self._estimator: Estimator | None = None
        self._bounds: list[Bound] = []
        self._narrows: list[_Narrow] = []
        self._before: list[_Hook] = []
        self._after: list[_Hook] = []
        self._moment = Moment()
        self._planned: Planned | None = None
        self._unbounded: int | None = None
        self.budget = self._look_at_budget()
        self._start(profile)

    def bind(self, profile: MemoryProfile) -> tuple[MemoryEvent, ...]:
        """Bind each strategy, in order; called once the model is loaded.

        A second call, after a release and a second load, keeps what was learned.

        Raises:
            BackendError: naming the call that a strategy needs and the backend lacks.
        """
        self._estimator = self._estimator or Estimator(profile)
        self._follow(profile)
        self._start(profile)
        self._bounds = []
        for strategy in (*profile.strategies, *self._frugal(profile)):
            # One by one: what was bound before a refusal can then be undone.
            self._bounds.append(_bound(strategy, self.controls))
        self._narrows = [bound.plan for bound in self._bounds if bound.plan]
        self._before = [bound.before for bound in self._bounds if bound.before]
        self._after = [bound.after for bound in self._bounds if bound.after]
        self._busy = self._counts or bool(self._narrows or self._before or self._after)
        self._hold()
        if self._policy.budget is not None and not self._counts:
            why = self.backend.limit().missing
            self.controls.note("budget", "only the weights are held to it", why)
        return self.controls.drain()

    def plan(self, questions: Sequence[Question], plan: GenerationPlan) -> GenerationPlan | None:
        """One plan for questions that are answered together, as strategies and budget allow.

        None when several do not fit together; then nothing is counted, and fewer of them
        may fit. Unless the adapter says what they need together (`CostAware`), each may
        need as much as the first.

        Raises:
            OutOfMemory: a single question fits under no plan that is allowed. When a fresh
                process would help, `controls.recycle` says so.
        """
        before = self._moment.number
        self._moment.number += sum(one.question_id not in self._again for one in questions)
        if not self._busy:
            return plan
        plan, planned = self._narrowed(plan), None
        if self._counts:
            planned = self._fit(questions, plan)
            if planned is None:
                self._moment.number = before
                return None
            plan = planned.plan
        if self._before:
            self._before = self._run(self._before, refusing=True)
        if self._counts:
            self._active_before = self.backend.read().active or 0
            if planned is not None and self.backend.runs_ahead:
                self._hold(self._active_before + self._allowed(planned))
            self.backend.reset_peak()
        return plan

    def expect_again(self, questions: Iterable[Question]) -> None:
        """These failed together and will be asked alone: they are counted already."""
        self._again.update(one.question_id for one in questions)

    def account(self, answer: Answer | None) -> MemoryReading | None:
        """After a question: learn what it cost, audit what stayed, clean what is due.

        `answer` is None when the question failed; of questions that were planned together
        it is any of the answers. The reading is None when nothing was looked at this time,
        as with an adapter that has no counters.
        """
        looked = self._moment.number >= self._watch.due
        if looked:
            self._look()
        if not self._busy:
            return MemoryReading(footprint=self._watch.footprint) if looked else None
        reading = self.backend.read()
        if self._counts:
            self._learn(reading, answer)
            self._audit(reading)
            if self.backend.runs_ahead:
                self._hold()
        if self._after:
            self._after = self._run(self._after, refusing=False)
        return evolve(reading, footprint=self._watch.footprint) if looked else reading

    def recover(self) -> None:
        """After an out-of-memory error: give back whatever the failed try left behind."""
        for call in ("gc.collect", "clear_cache"):
            if self.controls.has(call):
                self.controls.act("recover", call)

    def read(self) -> MemoryReading:
        """The counters now, the process's footprint among them."""
        return evolve(self.backend.read(), footprint=self._watch.read_footprint())

    def verdict(self) -> LeakVerdict:
        """What the audit says so far."""
        return self.audit.verdict()

    def settle(self, *, last: bool = False) -> tuple[int | None, tuple[MemoryEvent, ...]]:
        """After release: bytes still above the floor, and what was done about them.

        The measures escalate: cycles are collected only when something stayed. Where the
        process ends next (`last`) that is left to its end, and what stays until then is None.
        """
        for bound in reversed(self._bounds):
            if bound.undo is None:
                continue
            try:
                called(bound.undo)
            except Exception as error:  # noqa: BLE001  as in `_run`
                self._set_aside(bound.undo, error)
        self._bounds = []
        if self._unbounded is not None:
            self.backend.set_memory_limit(self._unbounded)
            self._unbounded = None
        if self.backend.name != "none":
            verdict = self.verdict()
            self.controls.note("audit", VERDICT, f"{verdict.kind}: {verdict.text}")
        if not last and self._residue():
            self.controls.act("release", "gc.collect")
        if self.controls.has("clear_cache"):
            self.controls.act("release", "clear_cache")
        residue = None if last else self._residue()
        if residue:
            self.controls.note("release", "residue", f"{residue} bytes stay above the floor")
        return residue, self.controls.drain()

    def drain(self, question: Question) -> tuple[MemoryEvent, ...]:
        """What was done around this question."""
        events = self.controls.drain()
        return tuple(evolve(event, question_id=question.question_id) for event in events)

    def _frugal(self, profile: MemoryProfile) -> tuple[CleanupStrategy, ...]:
        """What a caller who wants to save adds, as far as the model obeys it."""
        if not self._policy.saver:
            return ()
        return tuple(one for lever, one in _FRUGAL.items() if lever in profile.levers)

    def _follow(self, profile: MemoryProfile) -> None:
        """Count on the device where the model lies, if that shows only now.

        What the device held before is then not known, and a release cannot be verified.
        """
        if profile.device is None or self.backend.device is None:
            return
        there = backend(profile.backend, profile.device)
        if there.device != self.backend.device:
            self.backend, self.floor = there, None
            self._counts = there.read().active is not None
            self.budget = self._look_at_budget()

    def _start(self, profile: MemoryProfile) -> None:
        """A fresh count for a model that was just loaded, or will be."""
        self.controls = MemoryControls(self.backend, profile, self._adapter)
        self.controls.budget = self.budget.limit
        self.audit = Audit()
        self._inspector = Inspector(self.audit, self.controls, self._adapter)
        self._watch = Watch(self.audit)
        self._planner = Planner(
            self._estimator or Estimator(profile),
            self.controls,
            adapter=self._adapter,
            allow_lossy=self._policy.lossy,
            cautious=self._policy.budget is not None,
        )
        self._busy = self._counts
        self._moment = Moment(budget=self.budget.limit)
        self._again: set[QuestionId] = set()
        self._active_before = 0

    def _narrowed(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan as the strategies narrow it."""
        for narrow in tuple(self._narrows):
            try:
                plan = plain(GenerationPlan, called(narrow, plan))
            except Exception as error:  # noqa: BLE001  a strategy may raise anything
                self._narrows.remove(narrow)
                self._set_aside(narrow, error)
        return plan

    def _run(self, hooks: list[_Hook], *, refusing: bool) -> list[_Hook]:
        """Run each hook, and return those that did not fail.

        What the engine raises on purpose before a question is a refusal, and passes.
        """
        sound = []
        for hook in hooks:
            try:
                called(hook, self._moment)
            except Exception as error:
                if refusing and isinstance(error, VqaEngineError):
                    raise
                self._set_aside(hook, error)
            else:
                sound.append(hook)
        return sound

    def _set_aside(self, part: Callable[..., object], error: Exception) -> None:
        """Say that a part of somebody's strategy failed: it must not end a run."""
        log.error("a cleanup strategy failed; it is set aside", exc_info=error)
        name = getattr(part, "__qualname__", repr(part))
        self.controls.note("set aside", name, reason(error))

    def _fit(self, questions: Sequence[Question], plan: GenerationPlan) -> Planned | None:
        reading = self.backend.read()
        self._moment.active, self._moment.cache = reading.active, reading.cache
        self._moment.predicted = None
        self.prediction = self._planned = None
        planned = self._planner.plan(questions, plan, self._moment, self.budget)
        self._planned = planned if planned and planned.teaches else None
        return planned

    def _learn(self, reading: MemoryReading, answer: Answer | None) -> None:
        planned = self._planned
        if answer is None or planned is None or reading.peak is None:
            return
        truth = max(0, reading.peak - self._active_before)
        self.controls.largest = max(self.controls.largest, truth)
        known = self._planner.estimator.known
        cost = self._planner.corrected(planned, answer)
        self._planner.estimator.learn(self._planner.stages(cost, answer.plan), truth)
        if known:
            self.prediction = MemoryPrediction(
                expected=round(planned.expected),
                bound=planned.bound,
                truth=truth,
                prompt_tokens=cost.prompt_tokens,
                image_tiles=cost.image_tiles,
            )

    def _audit(self, reading: MemoryReading) -> None:
        moment = self._moment
        moment.active, moment.cache, moment.predicted = reading.active, reading.cache, None
        moment.rise = self._inspector.check(moment.number, reading.active or 0)

    def _look(self) -> None:
        """Sample what is too dear for each question: the process and the system."""
        self._watch.look(self._moment.number, self.backend.outside)
        self._moment.slope = self.audit.slope
        if self._after:
            self._moment.pressure = self._system.pressure()
        if self._counts:
            self.budget = self._look_at_budget()
            self._moment.budget = self.controls.budget = self.budget.limit
            self._hold()

    def _hold(self, most: float = inf) -> None:
        """Have the library itself keep to the budget and to `most`, as far as it can."""
        allowed = self._unbounded if self.budget.limit is None else self.budget.limit
        limit = min(most, inf if allowed is None else allowed)
        if limit == inf:
            return
        previous = self.backend.set_memory_limit(int(limit))
        if self._unbounded is None and previous is not None:
            self._unbounded = previous
            self.controls.note("budget", f"set_memory_limit({int(limit)})")

    def _allowed(self, planned: Planned) -> float:
        """Bytes above what is held past which a library that runs ahead waits.

        Never so few that it waits while it decodes: the KV cache lasts as long as that.
        """
        through, each = planned.stages, self.controls.profile.kv_per_token or 0
        lasting = each * max(cached for _, cached, *_ in through.chunks) - through.freed
        known = planned.expected if self._planner.estimator.learned else 0.0
        return max(_CLOSE * known, lasting + _DECODING)

    def _look_at_budget(self) -> Budget:
        return budget(self.backend, self._system, self._policy.budget)

    def _residue(self) -> int | None:
        active = self.backend.read().active
        if active is None or self.floor is None:
            return None
        return max(0, active - self.floor)


def _bound(strategy: CleanupStrategy, controls: MemoryControls) -> Bound:
    """A strategy tied to its calls.

    Raises:
        BackendError: a call is missing, or what it gave is not a `Bound`.
    """
    bound: object = called(strategy.bind, controls)
    if not isinstance(bound, Bound):
        problem = f"it returns {type(bound).__name__}, not a Bound"
        raise BackendError(f"{type(strategy).__name__}.bind", problem)
    return bound
