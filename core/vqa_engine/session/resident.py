"""A loaded model in this process: its adapter and its governor, asked once at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from itertools import islice
from time import perf_counter

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    BatchAdapter,
    BatchChoiceScorer,
    Fetchable,
    GenerationPlan,
    MemoryReading,
    ModelAdapter,
    ModelRef,
    Question,
    Trace,
    Traceable,
    images_per_question,
)
from vqa_engine.adapter.crossing import called, plain
from vqa_engine.errors import AnswerError, OutOfMemory, VqaEngineError
from vqa_engine.failures import describe
from vqa_engine.memory.budget import shown
from vqa_engine.memory.fit import expected_profile, loaded_profile, refuse
from vqa_engine.memory.governor import Governor
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import (
    BUDGET,
    Failure,
    LeakVerdict,
    Loaded,
    MemoryEvent,
    Note,
    Released,
    Reply,
)
from vqa_engine.session.choosing import choose, is_chosen
from vqa_engine.session.notes import Notes
from vqa_engine.session.protocol import (
    WINDOW,
    Exchange,
    OnBegun,
    OnTransfer,
    worth_another_try,
)
from vqa_engine.session.wording import as_planned, finished

log = logging.getLogger(__name__)


class Resident:
    """One adapter in this process.

    `on_note` hears what is logged while the model is loaded, in the thread that logs it.
    Questions arrive without their ground truths. A second `load` after `unload` keeps what
    was learned of the model's memory; `release` forgets it.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        model: ModelRef,
        policy: MemoryPolicy | None = None,
        *,
        on_note: Callable[[Note], None] = lambda _note: None,
        on_transfer: OnTransfer = lambda _transfer: None,
    ) -> None:
        self._adapter, self._model, self._on_transfer = adapter, model, on_transfer
        self._batches: BatchAdapter | None = None
        self._chooses_together = False
        self._policy = policy or MemoryPolicy()
        self._governor: Governor | None = None
        self._verdict = LeakVerdict()
        self._notes = Notes.of(adapter, on_note)
        self.loaded = False

    def load(self) -> Loaded:
        """Load the model and bind its cleanup strategies.

        Raises:
            VqaEngineError: it cannot be loaded, or does not fit.
            Exception: whatever else the adapter raises.
        """
        started = perf_counter()
        self._notes.open()
        try:
            governor = self._governor = self._governor or called(self._governed)
            if isinstance(self._adapter, Fetchable):
                called(self._adapter.fetch, self._model, self._on_transfer)
            called(self._adapter.load, self._model)
            events = called(governor.bind, loaded_profile(self._adapter))
            # Once: asking a protocol's `isinstance` costs tens of microseconds.
            self._batches = self._adapter if isinstance(self._adapter, BatchAdapter) else None
            self._chooses_together = isinstance(self._adapter, BatchChoiceScorer)
        except BaseException:
            self._abandon()
            raise
        _freeze()
        self.loaded = True
        return Loaded(
            profile=governor.controls.profile,
            seconds=perf_counter() - started,
            memory=governor.read(),
            events=events + _budget(governor.budget.limit),
            budget=governor.budget.limit,
            window=WINDOW if self._batches else 1,
        )

    def ask(
        self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan, on_begun: OnBegun
    ) -> Exchange:
        """Answer the first questions; see `vqa_engine.session.protocol.Place.ask`."""
        governor = self._loaded()
        asked = upcoming[: self._together(upcoming[:limit], plan)]
        if crowded := self._crowded(asked[0]):
            on_begun(asked[:1])
            return self._failed(governor, asked[:1], crowded)
        on_begun(asked)
        planned, failure = _planned(governor, asked, plan)
        while planned is None and len(asked) > 1:
            asked = asked[: len(asked) // 2]
            on_begun(asked)
            planned, failure = _planned(governor, asked, plan)
        if planned is None:
            return self._failed(governor, asked, failure)
        following = upcoming[len(asked)] if len(asked) < len(upcoming) else None
        replies, failure = self._answer(asked, planned, following)
        # By now the exception and the arrays in its frames are gone.
        return (
            self._failed(governor, asked, failure)
            if failure
            else _answered(governor, asked, replies)
        )

    def unload(self) -> tuple[MemoryEvent, ...]:
        """Let the model go; what the adapter raises is logged and reported as an event."""
        return self._unload()[1]

    def release(self, *, last: bool = False) -> Released:
        """Let everything go, and report what stayed; calling it twice is safe.

        What is the `last` thing that a process does leaves to its end what nobody refers to:
        a full collection costs a tenth of a second with mlx-vlm imported.
        """
        started = perf_counter()
        residue, events = self._unload(last=last) if self.loaded else (None, ())
        self._governor, verdict, self._verdict = None, self._verdict, LeakVerdict()
        seconds = perf_counter() - started
        return Released(residue=residue, seconds=seconds, events=events, verdict=verdict)

    def _abandon(self) -> None:
        """Let go of what a load that failed left behind."""
        if self._governor is None:
            self._notes.close()
        else:
            self.loaded = True
            self._unload()

    def _governed(self) -> Governor:
        governor = Governor(
            expected_profile(self._adapter, self._model), self._policy, adapter=self._adapter
        )
        # With its library loaded an adapter may know the precision that it will load in.
        expected = expected_profile(self._adapter, self._model)
        refuse(expected, governor.budget, lossy=self._policy.lossy)
        return governor

    def _crowded(self, question: Question) -> Failure | None:
        """Why a question with more images than the adapter takes fails.

        The engine refuses such sets before loading, where it can look at the adapter.
        """
        given = 1 + len(question.images)
        allowed = called(images_per_question, self._adapter) if question.images else 1
        if given <= allowed:
            return None
        message = f"it has {given} images, and the adapter handles {allowed} per question"
        return Failure(cause="image", message=message)

    def _together(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of these the adapter answers together."""
        chosen = is_chosen(upcoming[0], plan)
        others = (
            place
            for place, one in enumerate(upcoming)
            if self._crowded(one) or is_chosen(one, plan) != chosen
        )
        upcoming = upcoming[: next(others, None)]
        if self._batches is None or len(upcoming) < 2 or (chosen and not self._chooses_together):
            return 1
        try:
            size = int(called(self._batches.batch_size, upcoming, plan))
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            log.warning("batch_size failed, questions are asked one by one: %s", error)
            return 1
        return min(max(1, size), len(upcoming))

    def _answer(
        self, asked: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> tuple[list[Reply], Failure | None]:
        """A reply for each, or the failure that concerns them all."""
        try:
            if is_chosen(asked[0], plan):
                outcomes: list[object] = [*called(choose, self._adapter, asked, plan)]
            elif self._batches is None:
                outcomes = [called(self._adapter.answer, asked[0], plan)]
            else:
                outcomes = called(_listed, self._batches, asked, plan, following)
            pairs = zip(asked, outcomes, strict=True)
            return [self._reply(question, outcome, plan) for question, outcome in pairs], None
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; the run goes on
            return [], describe(error)

    def _reply(self, question: Question, outcome: object, plan: GenerationPlan) -> Reply:
        """An outcome for one question; one that does not fit is that one's failure."""
        if isinstance(outcome, VqaEngineError):
            return Reply(failure=describe(outcome))
        try:
            answer = finished(plain(Answer, as_planned(outcome, plan)), plan)
            if answer.plan.trace and isinstance(self._adapter, Traceable):
                trace = called(self._adapter.trace, question, answer.plan)
                answer = evolve(answer, trace=plain(Trace, trace))
        except TypeError as error:
            return Reply(failure=Failure(cause="adapter", message=f"the adapter gave {error}"))
        return Reply(answer=answer)

    def _failed(
        self, governor: Governor, asked: Sequence[Question], failure: Failure | None
    ) -> Exchange:
        assert failure is not None
        if failure.cause in {"out_of_memory", "too_big"}:
            governor.recover()
        governor.account(None)
        alone = len(asked) == 1
        if not alone:
            governor.expect_again(asked)
        return Exchange(
            begun=len(asked),
            replies=(Reply(failure=failure),) if alone else (),
            failure=None if alone else failure,
            events=governor.drain(asked[0]),
            recycle=governor.controls.recycle,
        )

    def _unload(self, *, last: bool = False) -> tuple[int | None, tuple[MemoryEvent, ...]]:
        governor = self._loaded()
        self.loaded = False
        if not last:
            gc.unfreeze()
        raised: tuple[MemoryEvent, ...] = ()
        try:
            called(self._adapter.release)
        except Exception as error:
            log.exception("the adapter's release failed")
            detail = reason(error)
            raised = (MemoryEvent(strategy="release", call="adapter.release", detail=detail),)
        finally:
            self._verdict = governor.verdict()
            residue, events = governor.settle(last=last)
            self._notes.close()
        return residue, raised + events

    def _loaded(self) -> Governor:
        if self._governor is None or not self.loaded:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._governor


def _budget(limit: int | None) -> tuple[MemoryEvent, ...]:
    """The event that keeps in the journal how many bytes the model may use, if known."""
    if limit is None:
        return ()
    return (MemoryEvent(strategy=BUDGET, call=f"{BUDGET}({limit})", detail=shown(limit)),)


def _planned(
    governor: Governor, asked: Sequence[Question], plan: GenerationPlan
) -> tuple[GenerationPlan | None, Failure | None]:
    """The plan that the governor allows; without one, why, as far as a single question goes."""
    try:
        return governor.plan(asked, plan), None
    except OutOfMemory as error:
        return None, evolve(describe(error), cause="refused")
    except Exception as error:  # noqa: BLE001  an adapter's `cost` may raise anything, too
        return None, describe(error)


def _answered(governor: Governor, asked: Sequence[Question], replies: Sequence[Reply]) -> Exchange:
    """The replies with what memory did; the last one brings the prediction."""
    memory = governor.account(next((one.answer for one in replies if one.answer), None))
    if len(asked) > 1:
        pairs = zip(asked, replies, strict=True)
        governor.expect_again(one for one, reply in pairs if worth_another_try(reply))
    settled = [_with_memory(reply, memory) for reply in replies]
    if governor.prediction is not None:
        settled[-1] = evolve(settled[-1], prediction=governor.prediction)
    return Exchange(
        begun=len(asked),
        replies=tuple(settled),
        events=governor.drain(asked[-1]),
        recycle=governor.controls.recycle,
    )


def _with_memory(reply: Reply, memory: MemoryReading | None) -> Reply:
    if reply.answer is None or memory is None:
        return reply
    return evolve(reply, answer=evolve(reply.answer, memory=memory))


def _listed(
    batches: BatchAdapter,
    asked: Sequence[Question],
    plan: GenerationPlan,
    following: Question | None,
) -> list[object]:
    """The outcomes of a batch, one for each question."""
    outcomes: list[object] = list(
        islice(batches.answer_batch(asked, plan, following), len(asked) + 1)
    )
    if len(outcomes) != len(asked):
        count = f"{len(outcomes)} outcomes" if len(outcomes) < len(asked) else "more outcomes"
        problem = f"answer_batch gave {count} for {len(asked)} questions"
        raise AnswerError(problem, cause="adapter")
    return outcomes


def _freeze() -> None:
    """Take what loading made out of the collector's sight.

    With mlx-vlm imported a full collection costs a quarter of a second, and nothing
    after a freeze (docs/facts/memory.md, "The first remedy, judged").
    """
    gc.collect()
    gc.freeze()
