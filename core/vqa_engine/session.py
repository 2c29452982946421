"""A session: one adapter from load to release, in the process where its model lives.

The engine speaks to `Session` only. `LocalSession` is the one in this process; the
worker's host side offers the same three calls for one in another.
"""

from __future__ import annotations

import gc
import logging
import traceback
from time import perf_counter
from typing import Protocol

from attrs import evolve

from vqa_engine.adapter import Answer, GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.errors import AnswerError, BackendError, ImageError, OutOfMemory, VqaEngineError
from vqa_engine.memory.governor import Governor
from vqa_engine.results import Cause, Failure, Loaded, Released, Reply

log = logging.getLogger(__name__)


class Session(Protocol):
    """One adapter, loaded once, asked many times, released once."""

    def load(self) -> Loaded:
        """Load the model and bind its cleanup strategies.

        Raises:
            VqaEngineError: it cannot be loaded; the session is of no more use.
        """

    def answer(self, question: Question, plan: GenerationPlan) -> Reply:
        """Ask one question; a fault of that question is a failure in the reply."""

    def release(self) -> Released:
        """Let go of the model, and say what stayed; calling it twice is safe."""


class LocalSession:
    """A session in this process."""

    def __init__(self, adapter: ModelAdapter, model: ModelRef) -> None:
        self._adapter = adapter
        self._model = model
        self._governor: Governor | None = None

    def load(self) -> Loaded:
        started = perf_counter()
        governor = Governor(self._adapter.memory_profile())
        self._governor = governor
        self._adapter.load(self._model)
        profile = self._adapter.memory_profile()
        events = governor.bind(profile)
        _freeze()
        return Loaded(
            profile=profile,
            seconds=perf_counter() - started,
            memory=governor.read(),
            events=events,
        )

    def answer(self, question: Question, plan: GenerationPlan) -> Reply:
        governor = self._loaded()
        try:
            answer = self._adapter.answer(question, governor.plan(plan))
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; the run goes on
            return Reply(failure=describe(error))
        if not isinstance(answer, Answer):
            return Reply(failure=_not_an_answer(answer))
        return Reply(answer=evolve(answer, memory=governor.read()))

    def release(self) -> Released:
        started = perf_counter()
        gc.unfreeze()
        self._adapter.release()
        residue, events = self._governor.settle() if self._governor else (None, ())
        self._governor = None
        return Released(residue=residue, seconds=perf_counter() - started, events=events)

    def _loaded(self) -> Governor:
        if self._governor is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._governor


def describe(error: Exception) -> Failure:
    """A failure row for an exception; one that is not ours keeps its traceback."""
    if isinstance(error, VqaEngineError):
        return Failure(cause=_cause(error), message=str(error))
    detail = "".join(traceback.format_exception(error))
    log.info("the adapter raised\n%s", detail)
    return Failure(cause="python", message=f"{type(error).__name__}: {error}", detail=detail)


def _cause(error: VqaEngineError) -> Cause:
    match error:
        case ImageError():
            return "image"
        case OutOfMemory():
            return "out_of_memory"
        case BackendError():
            return "backend"
        case _:
            return "adapter"


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
