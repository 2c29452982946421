"""The host's side of a session: what kills the worker costs one question a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

from attrs import evolve, frozen

from vqa_engine.adapter import Described, GenerationPlan, Question, QuestionId
from vqa_engine.errors import AnswerError, WorkerError
from vqa_engine.memory.ladder import Ladder
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import (
    Attempt,
    Cause,
    Failure,
    Loaded,
    MemoryEvent,
    Note,
    Released,
    Reply,
)
from vqa_engine.worker.keeper import Keeper
from vqa_engine.worker.limits import Limits, Timeouts

CURED_BY_RESTART: frozenset[Cause] = frozenset(
    {"out_of_memory", "too_big", "handle_limit", "watchdog", "backend"}
)
"""What an adapter may report without dying, and another try may cure. An exception of any
other kind would only come again."""


@frozen(kw_only=True)
class Restart:
    """A fresh worker stands in for one that died or was given up.

    `attempt` is the try that failed, `plan` the one that comes next, None when the
    question was given up. Seconds: `lost` went into the failed try, `reload` into the
    end of the old worker and the start of the new.
    """

    label: str
    question_id: QuestionId
    attempt: Attempt
    plan: GenerationPlan | None
    lost: float
    reload: float = 0.0


class WorkerSession:
    """A session in a process of its own; see `vqa_engine.session.local.Session`.

    `log_directory` keeps what the worker prints, in `<label>.log`. `policy` is the
    caller's word on memory; the ladder, too, goes on to plans that may change the text
    only if it allows them. `library` is the BLAS for a model on MLX. `on_restart` hears of
    each fresh worker, `on_note` of what the workers log, in the caller's thread. One thread
    at a time may use it.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        spec: AdapterSpec,
        *,
        log_directory: Path | None = None,
        policy: MemoryPolicy | None = None,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        library: Path | None = None,
        on_restart: Callable[[Restart], None] | None = None,
        on_note: Callable[[Note], None] = lambda _note: None,
    ) -> None:
        self._label = spec.label
        self._limits = limits or Limits()
        policy = policy or MemoryPolicy()
        timeouts = timeouts or Timeouts()
        self._keeper = Keeper(
            *(spec, log_directory, policy, timeouts, self._limits),
            library=library,
            on_note=on_note,
        )
        self._ladder = Ladder(allow_lossy=policy.lossy)
        self._on_restart = on_restart
        self._restart: Restart | None = None
        self._retired = ""
        self._loaded = False
        self._fresh = True
        self._deaths = 0
        self._alone = 0  # questions still to be asked one by one, after a batch that killed

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._keeper.worker.pid if self._keeper.worker else None

    def load(self) -> Loaded:
        """Start a worker and load the model in it.

        Raises:
            VqaEngineError: what the adapter raised, as from an inline session.
            InterpreterError: the interpreter cannot run a worker of this version.
            WorkerError: the worker died while loading, or its load took too long.
            ConfigurationError: the model's options are not plain data.
        """
        self.release()
        try:
            loaded = self._keeper.start()
        except BaseException:
            self.release()
            raise
        self._loaded, self._fresh, self._deaths = True, True, 0
        step, levers = _standing_step(loaded), loaded.profile.levers
        self._ladder = evolve(self._ladder, standing_step=step, levers=levers)
        return loaded

    def answer(self, question: Question, plan: GenerationPlan) -> Reply:
        """Ask one question, of as many workers as it may have.

        Raises:
            WorkerError: no worker loads any more, or one after another dies.
            VqaEngineError: what the adapter raised when it was loaded again.
            AnswerError: the session is not loaded.
        """
        tries: tuple[Attempt, ...] = ()
        events: tuple[MemoryEvent, ...] = ()
        recycled = False
        while True:
            events += self._revive(question.question_id)
            started = perf_counter()
            reply = self._keeper.ask([question], plan)[0]
            failure = self._curable(reply, plan)
            if reply.recycle and self._retire(reply) and not recycled:
                recycled, events = True, events + reply.events
                continue
            reply = evolve(reply, recycle="")
            if failure is None:
                return _after(reply, plan, tries, events)
            tries += (_attempt(failure, plan),)
            below = self._below(plan, failure, len(tries))
            self._give_up(question, tries[-1], below, perf_counter() - started)
            if below is None:
                return Reply(failure=evolve(failure, attempts=tries), events=events)
            plan = below

    def answers(self, upcoming: Sequence[Question], plan: GenerationPlan) -> tuple[Reply, ...]:
        """Ask the first question, and with it as many as the adapter answers together.

        A batch that kills its worker, or fails as a whole, is asked one by one.

        Raises:
            VqaEngineError: as `answer` does.
        """
        if len(upcoming) < 2 or self._alone:
            self._alone = max(0, self._alone - 1)
            return (self.answer(upcoming[0], plan),)
        events = self._revive(upcoming[0].question_id)
        replies = self._keeper.ask(upcoming, plan)
        if self._keeper.worker is None:
            self._deaths += 1
            self._alone = len(upcoming)
            return self.answers(upcoming[:1], plan)
        self._deaths = 0
        if replies[-1].recycle:
            self._retire(replies[-1])
        first = evolve(replies[0], events=events + replies[0].events)
        pairs = zip(upcoming, (first, *replies[1:]), strict=False)
        return tuple(self._final(question, reply, plan) for question, reply in pairs)

    def _final(self, question: Question, reply: Reply, plan: GenerationPlan) -> Reply:
        """A batch's reply, or that of a second try where one may cure the failure."""
        if reply.failure is not None and reply.failure.cause in CURED_BY_RESTART:
            return self.answer(question, plan)
        return evolve(reply, recycle="")

    def release(self) -> Released:
        """End the worker, and see that it and all it started are gone. Idempotent.

        `residue` is 0 once they are: a process takes its memory with it.
        """
        started = perf_counter()
        self._loaded, self._restart = False, None
        released, gone = self._keeper.farewell()
        return evolve(released, residue=0 if gone else None, seconds=perf_counter() - started)

    def _revive(self, question_id: QuestionId) -> tuple[MemoryEvent, ...]:
        """See that there is a worker to ask; a fresh one is an event."""
        if not self._loaded:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        if self._keeper.worker is not None:
            return ()
        started = perf_counter()
        self._keeper.start(again=True)
        self._fresh = True
        seconds = perf_counter() - started
        reason = self._tell(seconds)
        return (
            MemoryEvent(
                strategy="fresh worker",
                call="restart the worker",
                seconds=seconds,
                question_id=question_id,
                detail=reason,
            ),
        )

    def _retire(self, reply: Reply) -> bool:
        """End a worker whose governor asked for a fresh one; whether to ask again."""
        self._keeper.retire()
        self._retired = reply.recycle
        return reply.answer is None

    def _tell(self, seconds: float) -> str:
        """Report a restart, and give its reason; an interrupted question leaves none."""
        restart, self._restart = self._restart, None
        if restart is None:
            reason, self._retired = self._retired, ""
            return reason
        if self._on_restart is not None:
            self._on_restart(evolve(restart, reload=restart.reload + seconds))
        return restart.attempt.message

    def _curable(self, reply: Reply, plan: GenerationPlan) -> Failure | None:
        """The failure that another try may cure, None when the reply is the last word."""
        if self._keeper.worker is None:
            self._deaths += 1
            return reply.failure
        self._deaths = 0
        failure = reply.failure
        if failure is not None and failure.cause in CURED_BY_RESTART:
            return failure
        self._fresh = False
        if plan.prefill_step is None and reply.answer is not None:
            step = reply.answer.plan.prefill_step
            self._ladder = evolve(self._ladder, standing_step=step)
        return None

    def _below(self, plan: GenerationPlan, failure: Failure, tries: int) -> GenerationPlan | None:
        """The next plan, None to give up.

        What a fresh worker has refused, another fresh one would refuse as well: the same
        plan is worth another try only after a death, or from a worker that was used.
        """
        if tries >= self._limits.workers:
            return None
        below = self._ladder.below(plan, failure.cause)
        refused = self._keeper.worker is not None and self._fresh
        return None if refused and below == plan else below

    def _give_up(
        self, question: Question, attempt: Attempt, below: GenerationPlan | None, lost: float
    ) -> None:
        """After a failed try no worker is left, and a crash loop ends here.

        One that lives still ends: what a device error leaves behind is not to be trusted.
        """
        started = perf_counter()
        self._keeper.drop()
        self._restart = Restart(
            label=self._label,
            question_id=question.question_id,
            attempt=attempt,
            plan=below,
            lost=lost,
            reload=perf_counter() - started,
        )
        if self._deaths >= self._limits.deaths:
            raise self._crash_loop(attempt)

    def _crash_loop(self, attempt: Attempt) -> WorkerError:
        message = (
            f"{self._deaths} workers of {self._label!r} died one after another without an "
            f"answer. The last: {attempt.message}"
        )
        return WorkerError(message, label=self._label, cause=attempt.cause)


def _attempt(failure: Failure, plan: GenerationPlan) -> Attempt:
    return Attempt(plan=plan, cause=failure.cause, message=failure.message)


def _after(
    reply: Reply,
    plan: GenerationPlan,
    tries: tuple[Attempt, ...],
    events: tuple[MemoryEvent, ...],
) -> Reply:
    """The last reply, with what came before it."""
    if not events:
        return reply
    failure = reply.failure
    if failure is not None and tries:
        failure = evolve(failure, attempts=(*tries, _attempt(failure, plan)))
    attempts = tries if failure is None else ()
    return evolve(reply, failure=failure, attempts=attempts, events=events + reply.events)


def _standing_step(loaded: Loaded) -> int | None:
    """The step that the model's own strategy sets where a plan sets none."""
    for strategy in loaded.profile.strategies:
        if isinstance(strategy, Described) and strategy.name == "PrefillStep":
            step = strategy.settings.get("tokens")
            return step if isinstance(step, int) else None
    return None
