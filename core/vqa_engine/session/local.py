"""A session: one adapter from load to release, in the process where its model lives.

The engine speaks to `Session` only. `LocalSession` is the one in this process; the
worker's host side offers the same three calls for one in another.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Protocol

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    BatchAdapter,
    GenerationPlan,
    MemoryReading,
    ModelAdapter,
    ModelRef,
    Question,
)
from vqa_engine.errors import AnswerError, OutOfMemory, VqaEngineError
from vqa_engine.failures import describe
from vqa_engine.memory.fit import expected_profile, refuse
from vqa_engine.memory.governor import Governor
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Failure, Loaded, MemoryEvent, Note, Released, Reply
from vqa_engine.session.notes import Notes

log = logging.getLogger(__name__)

REACH = 32
"""Questions that an adapter which answers several together is offered at once: six images'
worth of VQA v2, and four rounds of the eight requests that `openai_server` keeps in flight."""


class Session(Protocol):
    """One adapter, loaded once, asked many times, released once."""

    def load(self) -> Loaded:
        """Load the model and bind its cleanup strategies.

        Raises:
            VqaEngineError: it cannot be loaded; the session is of no more use.
        """

    def answer(self, question: Question, plan: GenerationPlan) -> Reply:
        """Ask one question; a fault of that question is a failure in the reply."""

    def answers(self, upcoming: Sequence[Question], plan: GenerationPlan) -> tuple[Reply, ...]:
        """Ask the first of these, and with it as many as the adapter answers together.

        One reply for each question that was asked, in their order; at least one.
        """

    def release(self) -> Released:
        """Let go of the model, and say what stayed; calling it twice is safe."""


class LocalSession:
    """A session in this process.

    A request for a fresh process is met here by a release and a second load, unless
    `in_place` is False: a worker passes the request up to its host instead. `library`
    is the BLAS that a model on MLX multiplies by. `on_note` hears what is logged while
    the model is loaded, in the thread that logs it.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        adapter: ModelAdapter,
        model: ModelRef,
        policy: MemoryPolicy | None = None,
        *,
        in_place: bool = True,
        library: Path | None = None,
        on_note: Callable[[Note], None] = lambda _note: None,
    ) -> None:
        self._adapter, self._model = adapter, model
        # Once: asking a protocol's `isinstance` costs tens of microseconds.
        self._batches = adapter if isinstance(adapter, BatchAdapter) else None
        self._policy, self._in_place, self._library = policy, in_place, library
        self._governor: Governor | None = None
        self._notes = Notes(adapter, on_note)

    def load(self) -> Loaded:
        self._notes.open()
        try:
            return self._load()
        except BaseException:
            self._notes.close()  # nobody has to release what was never loaded
            raise

    def _load(self) -> Loaded:
        started = perf_counter()
        expected = expected_profile(self._adapter, self._model)
        governor = Governor(expected, self._policy, adapter=self._adapter)
        # With its library loaded an adapter may know the precision that it will load in.
        expected = expected_profile(self._adapter, self._model)
        refuse(expected, governor.budget, lossy=self._policy is not None and self._policy.lossy)
        self._governor = governor
        events = self._bring_in(governor)
        return Loaded(
            profile=governor.controls.profile,
            seconds=perf_counter() - started,
            memory=governor.read(),
            events=events,
            budget=governor.budget.limit,
            reach=REACH if self._batches else 1,
        )

    def answer(self, question: Question, plan: GenerationPlan) -> Reply:
        reply = self._ask(question, plan)
        if not (reply.recycle and self._in_place):
            return reply
        events = reply.events + self._recycle(question)
        if reply.answer is not None:
            return evolve(reply, events=events, recycle="")
        again = self._ask(question, plan)
        return evolve(again, events=events + again.events, recycle="")

    def answers(self, upcoming: Sequence[Question], plan: GenerationPlan) -> tuple[Reply, ...]:
        adapter, asked = self._batches, upcoming[:1]
        try:
            if adapter is not None and len(upcoming) > 1:
                asked = upcoming[: adapter.batch_size(upcoming, plan)] or asked
            if adapter is not None:
                following = upcoming[len(asked)] if len(asked) < len(upcoming) else None
                replies = self._together(adapter, asked, plan, following)
                if replies:
                    return replies
        except Exception as error:  # noqa: BLE001  what concerns them all: each is asked alone
            log.info("a batch of %d failed, each is asked alone: %s", len(asked), error)
            self._loaded().recover()
        return tuple(self.answer(question, plan) for question in asked)

    def release(self) -> Released:
        started = perf_counter()
        gc.unfreeze()
        try:
            self._adapter.release()
        finally:
            self._notes.close()
        if self._governor is None:
            return Released(residue=None, seconds=perf_counter() - started)
        verdict = self._governor.verdict()
        residue, events = self._governor.settle()
        self._governor = None
        return Released(
            residue=residue, seconds=perf_counter() - started, events=events, verdict=verdict
        )

    def _ask(self, question: Question, plan: GenerationPlan) -> Reply:
        governor = self._loaded()
        try:
            planned = governor.plan([question], plan)
            assert planned is not None  # one question is refused in words
        except OutOfMemory as error:
            return _failed(governor, question, Failure(cause="refused", message=str(error)))
        except Exception as error:  # noqa: BLE001  an adapter's `cost` may raise anything, too
            return _failed(governor, question, describe(error))
        try:
            answer = self._adapter.answer(question, planned)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; the run goes on
            failure = describe(error)
        else:
            if isinstance(answer, Answer):
                return self._answered(governor, question, answer)
            failure = _not_an_answer(answer)
        return _failed(governor, question, failure)

    def _together(
        self,
        adapter: BatchAdapter,
        asked: Sequence[Question],
        plan: GenerationPlan,
        following: Question | None,
    ) -> tuple[Reply, ...]:
        """The replies of a batch; empty when the questions may not fit together."""
        governor = self._loaded()
        planned = governor.plan(asked, plan)
        if planned is None:
            return ()
        outcomes = adapter.answer_batch(asked, planned, following)
        if len(outcomes) != len(asked):
            problem = f"answer_batch gave {len(outcomes)} outcomes for {len(asked)} questions"
            raise AnswerError(problem, cause="adapter")
        replies = [_outcome(outcome) for outcome in outcomes]
        memory = governor.account(next((one.answer for one in replies if one.answer), None))
        replies[-1] = evolve(
            replies[-1],
            events=governor.drain(asked[-1]),
            prediction=governor.prediction,
            recycle=governor.controls.recycle,
        )
        return tuple(_with_memory(reply, memory) for reply in replies)

    def _answered(self, governor: Governor, question: Question, answer: Answer) -> Reply:
        memory = governor.account(answer)
        if memory is None and not governor.controls.pending:
            return Reply(answer=answer)
        return Reply(
            answer=answer if memory is None else evolve(answer, memory=memory),
            events=governor.drain(question),
            prediction=governor.prediction,
            recycle=governor.controls.recycle,
        )

    def _bring_in(self, governor: Governor) -> tuple[MemoryEvent, ...]:
        """Load the model and bind its strategies."""
        self._adapter.load(self._model)
        events = governor.bind(self._adapter.memory_profile())
        _freeze()
        return events

    def _recycle(self, question: Question) -> tuple[MemoryEvent, ...]:
        """Release and load again, in this process."""
        governor = self._loaded()
        gc.unfreeze()
        self._adapter.release()
        _, events = governor.settle()
        events += self._bring_in(governor)
        return tuple(evolve(event, question_id=question.question_id) for event in events)

    def _loaded(self) -> Governor:
        if self._governor is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._governor


def _failed(governor: Governor, question: Question, failure: Failure) -> Reply:
    """A failure's reply; by now the exception and the arrays in its frames are gone."""
    if failure.cause == "out_of_memory":
        governor.recover()
    governor.account(None)
    return Reply(
        failure=failure, events=governor.drain(question), recycle=governor.controls.recycle
    )


def _outcome(outcome: Answer | VqaEngineError) -> Reply:
    if isinstance(outcome, Answer):
        return Reply(answer=outcome)
    if isinstance(outcome, VqaEngineError):
        return Reply(failure=describe(outcome))
    return Reply(failure=_not_an_answer(outcome))


def _with_memory(reply: Reply, memory: MemoryReading | None) -> Reply:
    if reply.answer is None or memory is None:
        return reply
    return evolve(reply, answer=evolve(reply.answer, memory=memory))


def _not_an_answer(value: object) -> Failure:
    return Failure(
        cause="adapter", message=f"answer() gave {type(value).__name__}, not an Answer record"
    )


def _freeze() -> None:
    """Take what loading made out of the collector's sight.

    With mlx-vlm imported a full collection costs a quarter of a second, and nothing
    after a freeze (shared/facts/memory.md, "The first remedy, judged").
    """
    gc.collect()
    gc.freeze()
