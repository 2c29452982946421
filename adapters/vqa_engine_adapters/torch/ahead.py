"""Pictures and prompts of the questions that come next, made ready on threads.

Only Pillow, numpy and the processor run there. A picture that several questions are about is
prepared once, for the first of them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import local

from attrs import evolve, frozen

from vqa_engine.adapter import Question
from vqa_engine.adapter.records import ImageSource
from vqa_engine.errors import VqaEngineError
from vqa_engine.images import open_image
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, continued, prepare
from vqa_engine_adapters.turns import QuickTurns

_WORKERS = 2
"""Threads: one prepares 70 pictures a second for LLaVA, and a GPU answers 40 questions in it
(docs/facts/gpu.md); SmolVLM's pictures cost four times as much. More would only keep the
interpreter from the thread that launches the GPU's work."""

BYTES = 512 * 2**20
"""Prepared pictures that may wait: 380 of LLaVA 1.5, ten of SmolVLM's largest."""

Outcome = Prepared | VqaEngineError
"""A question made ready, or why it cannot be asked."""

Prompt = Callable[[Question], str]

Order = Callable[[Question], Sequence[int]]
"""The question's images in the order in which its prompt has them."""


@frozen
class _Job:
    """A question's picture on its way. The question is held so that its id stays its own."""

    question: Question
    edge: int | None
    done: Future[Prepared]


class Ahead:
    """What is being made ready, by question; no more than about `limit` bytes wait."""

    def __init__(
        self,
        loaded: Loaded,
        prompt: Prompt,
        order: Order,
        prefixes: Prefixes,
        limit: int = BYTES,
    ) -> None:
        self._loaded, self._prompt, self._order = loaded, prompt, order
        self._prefixes, self._limit = prefixes, limit
        self._jobs: dict[int, _Job] = {}
        self._asked: tuple[Question, ...] = ()
        self._named: tuple[int | None, ...] = ()
        self._outcomes: list[Outcome] = []
        self._largest = 0
        self._mine, self._turns = local(), QuickTurns()
        self._pool = ThreadPoolExecutor(
            min(_WORKERS, os.cpu_count() or 1), thread_name_prefix="prepare"
        )

    def offer(self, upcoming: Sequence[Question], edge: int | None) -> None:
        """Begin with the pictures that come next, as far as there is room for them.

        What waits for questions that come no more is let go of.
        """
        coming = {id(question) for question in upcoming} | {id(one) for one in self._asked}
        self._jobs = {name: job for name, job in self._jobs.items() if name in coming}
        known = {source(job.question) for job in self._jobs.values()}
        for question in upcoming:
            waiting = len(self._jobs) + 1
            if waiting > _WORKERS and waiting * (self._largest or self._limit) > self._limit:
                return
            if source(question) not in known:
                known.add(source(question))
                self._job(question, edge)

    def ready(self, questions: Sequence[Question], edge: int | None) -> list[Outcome]:
        """Each question made ready, or the error that concerns it alone."""
        named = (*map(id, questions), edge)
        if named != self._named:
            self._outcomes, self._named = self._readied(questions, edge), named
            self._asked = tuple(questions)  # held, so that their ids stay their own
        return self._outcomes

    def _readied(self, questions: Sequence[Question], edge: int | None) -> list[Outcome]:
        firsts = {source(question): question for question in reversed(questions)}
        for first in reversed(firsts.values()):
            self._job(first, edge)
        return [self._one(question, firsts[source(question)], edge) for question in questions]

    def forget(self, questions: Sequence[Question]) -> None:
        """Let go of what was made ready for these."""
        for question in questions:
            self._jobs.pop(id(question), None)
        self._forget_outcomes()

    def forget_reused(self) -> None:
        """Let go of what leans on a prefix: those are gone, or about to go."""
        self._jobs = {
            name: job
            for name, job in self._jobs.items()
            if not job.done.done() or job.done.exception() or job.done.result().prefix is None
        }
        self._forget_outcomes()

    def close(self) -> None:
        """Let go of all, and end the threads."""
        self._jobs.clear()
        self._forget_outcomes()
        self._pool.shutdown(cancel_futures=True)
        self._turns.end()

    def _forget_outcomes(self) -> None:
        self._asked, self._named, self._outcomes = (), (), []

    def _job(self, question: Question, edge: int | None) -> _Job:
        job = self._jobs.get(id(question))
        if job is None or job.edge != edge:
            job = _Job(question, edge, self._pool.submit(self._prepare, question, edge))
            self._jobs[id(question)] = job
        return job

    def _one(self, question: Question, first: Question, edge: int | None) -> Outcome:
        try:
            earlier = self._job(first, edge).done.result()
            self._largest = max(self._largest, _nbytes(earlier))
            if question is first:
                return earlier
            again = continued(self._loaded, self._prompt(question), earlier)
        except VqaEngineError as error:
            if question is first:
                return error
            again = None
        return again or self._one(question, question, edge)

    def _prepare(self, question: Question, edge: int | None) -> Prepared:
        prompt = self._prompt(question)
        images = [open_image(question, place) for place in self._order(question)]
        return prepare(self._own(), prompt, images, edge, self._prefixes)

    def _own(self) -> Loaded:
        """The model with a processor of this thread's: a tokenizer serves one thread at a time."""
        if not hasattr(self._mine, "loaded"):
            processor = copy.deepcopy(self._loaded.processor)
            self._mine.loaded = evolve(self._loaded, processor=processor)
        mine: Loaded = self._mine.loaded
        return mine


def _nbytes(prepared: Prepared) -> int:
    return sum(int(getattr(value, "nbytes", 0)) for value in prepared.inputs.values())


def source(question: Question) -> Hashable:
    """What tells a question's picture, or its several, from another's without opening any."""
    return tuple(_source(image, question.image_root) for image in question.all_images)


def _source(image: ImageSource, root: Path | None) -> Hashable:
    return (image, root) if isinstance(image, Path | bytes) else id(image)
