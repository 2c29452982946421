"""The one loop that decides what happens to each question.

A question is answered, asked again alone, asked again of a freshly loaded model with a
cheaper plan, or given up. Blame, recycling and the crash loop are decided here too, in the
same way for single questions and batches, in this process and in a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from attrs import define, evolve, field, frozen, validators

from vqa_engine.adapter import Described, GenerationPlan, Question, QuestionId
from vqa_engine.errors import AnswerError, WorkerError
from vqa_engine.memory.ladder import Ladder
from vqa_engine.results import Attempt, Failure, Loaded, MemoryEvent, Released, Reply
from vqa_engine.session.protocol import Exchange, OnBegun, Place, Settled, worth_another_try

MOST_CASES = 1024
"""Questions whose tries are remembered, the latest: a server's client may never ask again."""


@frozen(kw_only=True)
class Limits:
    """When to give up.

    A question gets `workers` tries. The run stops once questions about `images` different
    images in a row have killed the worker, with nothing answered in between, or after
    `loads` workers in a row that died while loading.
    """

    workers: int = field(default=3, validator=validators.ge(1))
    images: int = field(default=5, validator=validators.ge(1))
    loads: int = field(default=3, validator=validators.ge(1))


@define
class _Case:
    """A question that is asked alone: the tries so far, and the plan of the next one.

    `renewed` says that it was given a fresh process already because memory had stayed.
    """

    plan: GenerationPlan
    tries: tuple[Attempt, ...] = ()
    renewed: bool = False


class Host:
    """A session over a place; see `vqa_engine.session.protocol.Session`.

    With `lossy` the ladder goes on to plans that may change the text. `on_begun` is called
    with the questions that are about to be answered, before or while they are.
    """

    def __init__(
        self,
        label: str,
        place: Place,
        *,
        limits: Limits | None = None,
        lossy: bool = False,
        on_begun: OnBegun = lambda _questions: None,
    ) -> None:
        self._label, self._place = label, place
        self._limits, self._on_begun = limits or Limits(), on_begun
        self._ladder = Ladder(allow_lossy=lossy)
        self._forget()

    def load(self) -> Loaded:
        self.release()
        try:
            loaded = self._place.start()
        except BaseException:
            self.release()
            raise
        self._loaded = self._fresh = True
        self._window = loaded.window
        step, levers = _standing_step(loaded), loaded.profile.levers
        self._ladder = evolve(self._ladder, standing_step=step, levers=levers)
        return loaded

    def ask(self, upcoming: Sequence[Question], plan: GenerationPlan) -> list[Settled]:
        if not self._loaded:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        upcoming = upcoming[: self._window]
        while True:
            self._revive(upcoming[0].question_id)
            limit = self._limit(upcoming)
            case = self._cases.get(upcoming[0].question_id)
            planned = case.plan if case else plan
            exchange = self._place.ask(upcoming, limit, planned, self._on_begun)
            asked = upcoming[: exchange.begun or limit]
            self._events += exchange.events
            settled = self._settle(asked, exchange, planned)
            self._recycle(exchange)
            if settled:
                return self._with_events(settled)

    def release(self) -> Released:
        started = perf_counter()
        self._forget()
        return evolve(self._place.close(), seconds=perf_counter() - started)

    def _forget(self) -> None:
        self._loaded = False
        self._fresh = True
        self._window = 1
        self._cases: dict[QuestionId, _Case] = {}
        self._deadly: set[int] = set()
        self._killers: set[int] = set()
        self._events: tuple[MemoryEvent, ...] = ()
        self._reason = ""

    def _limit(self, upcoming: Sequence[Question]) -> int:
        """How many may go together: only questions that nothing is held against."""
        if self._suspicious(upcoming[0]):
            return 1
        suspects = (n for n, question in enumerate(upcoming) if self._suspicious(question))
        return next(suspects, len(upcoming))

    def _suspicious(self, question: Question) -> bool:
        return question.question_id in self._cases or _image(question) in self._deadly

    def _settle(
        self, asked: Sequence[Question], exchange: Exchange, plan: GenerationPlan
    ) -> list[Settled]:
        """The questions that are through; the others are noted, to be asked again."""
        if not self._place.alive:
            self._count_death(asked, exchange)
        else:
            self._killers.clear()
        if exchange.failure is None:
            pairs = zip(asked, exchange.replies, strict=True)
            return [done for pair in pairs if (done := self._judge(*pair, exchange, plan))]
        if len(asked) == 1:
            reply = self._tried(asked[0], exchange.failure, plan)
            return [(asked[0], reply)] if reply else []
        for question in asked:
            self._alone(question, plan)
        return []

    def _judge(
        self, question: Question, reply: Reply, exchange: Exchange, plan: GenerationPlan
    ) -> Settled | None:
        """A question with its last reply, None when it is to be asked again."""
        failure = reply.failure
        if failure is not None and failure.cause == "refused" and exchange.recycle:
            case = self._alone(question, plan)
            if not case.renewed:
                case.renewed = True
                return None
        if failure is not None and worth_another_try(reply):
            if exchange.begun > 1:
                self._alone(question, plan)
                return None
            last = self._tried(question, failure, plan)
            return None if last is None else (question, evolve(last, events=reply.events))
        self._fresh = False
        self._learn_step(reply, plan)
        return question, self._final(question, reply, plan)

    def _alone(self, question: Question, plan: GenerationPlan) -> _Case:
        case = self._cases.setdefault(question.question_id, _Case(plan))
        if len(self._cases) > MOST_CASES:
            del self._cases[next(iter(self._cases))]
        return case

    def _tried(self, question: Question, failure: Failure, plan: GenerationPlan) -> Reply | None:
        """Count a try that failed; the reply that gives the question up, None to try again.

        A place that lives still ends: what a device error leaves behind cannot be trusted.
        """
        case = self._alone(question, plan)
        case.tries += (_attempt(failure, plan),)
        below = self._below(failure, plan, len(case.tries))
        died = not self._place.alive
        if not died:
            self._events += self._place.stop(politely=False)
        self._reason = failure.message
        if below is None:
            if died:
                self._deadly.add(_image(question))
            del self._cases[question.question_id]
            return Reply(failure=evolve(failure, attempts=case.tries))
        case.plan = below
        return None

    def _below(self, failure: Failure, plan: GenerationPlan, tries: int) -> GenerationPlan | None:
        """The next plan, None to give up.

        What a fresh model has refused, another fresh one would refuse as well: the same
        plan is worth another try only after a death, or of a model that was used.
        """
        if tries >= self._limits.workers:
            return None
        below = self._ladder.below(plan, failure.cause)
        return None if below == plan and self._place.alive and self._fresh else below

    def _final(self, question: Question, reply: Reply, plan: GenerationPlan) -> Reply:
        """The last reply, with the tries that came before it."""
        case = self._cases.pop(question.question_id, None)
        if case is None or not case.tries:
            return reply
        if reply.failure is None:
            return evolve(reply, attempts=case.tries)
        attempts = (*case.tries, _attempt(reply.failure, plan))
        return evolve(reply, failure=evolve(reply.failure, attempts=attempts))

    def _count_death(self, asked: Sequence[Question], exchange: Exchange) -> None:
        """See that deaths one after another are not the model's or the machine's own."""
        self._killers.update(_image(question) for question in asked[:1])
        if len(self._killers) < self._limits.images or exchange.failure is None:
            return
        message = (
            f"Questions about {len(self._killers)} different images in a row killed the worker "
            f"of {self._label!r}, and none was answered in between. The last: "
            f"{exchange.failure.message} Find the cause; the same command continues the run."
        )
        raise WorkerError(message, label=self._label, cause=exchange.failure.cause)

    def _recycle(self, exchange: Exchange) -> None:
        if exchange.recycle and self._place.alive:
            self._events += self._place.stop(politely=True)
            self._reason = exchange.recycle

    def _revive(self, question_id: QuestionId) -> None:
        """See that there is a loaded model; loading it afresh is an event."""
        if self._place.alive:
            return
        started = perf_counter()
        loaded = self._place.start(again=True)
        self._fresh = True
        self._events += (
            *loaded.events,
            MemoryEvent(
                strategy="fresh worker",
                call="restart the worker",
                seconds=perf_counter() - started,
                question_id=question_id,
                detail=self._reason,
            ),
        )
        self._reason = ""

    def _learn_step(self, reply: Reply, plan: GenerationPlan) -> None:
        if plan.prefill_step is None and reply.answer is not None:
            step = reply.answer.plan.prefill_step
            self._ladder = evolve(self._ladder, standing_step=step)

    def _with_events(self, settled: list[Settled]) -> list[Settled]:
        """The first reply brings the events that belong to no other."""
        if self._events:
            question, reply = settled[0]
            settled[0] = question, evolve(reply, events=self._events + reply.events)
            self._events = ()
        return settled


def _attempt(failure: Failure, plan: GenerationPlan) -> Attempt:
    return Attempt(plan=plan, cause=failure.cause, message=failure.message)


def _image(question: Question) -> int:
    """What distinguishes images without opening or keeping them.

    Two that share a hash are asked alone both, which costs nothing but time.
    """
    image = question.image
    return hash(image) if isinstance(image, Path | bytes) else id(image)


def _standing_step(loaded: Loaded) -> int | None:
    """The step that the model's own strategy sets where a plan sets none."""
    for strategy in loaded.profile.strategies:
        if isinstance(strategy, Described) and strategy.name == "PrefillStep":
            step = strategy.settings.get("tokens")
            return step if isinstance(step, int) else None
    return None
