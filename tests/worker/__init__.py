"""Tests of the process boundary: real processes, real signals."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypedDict, Unpack

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Failure, Reply
from vqa_engine.worker import Limits, Timeouts, WorkerSession

PLAN = GenerationPlan()


def ask(text: str, question_id: int | str = 1, image: object = b"abc", **more: object) -> Question:
    """A question with only what a test is about."""
    return Question(question_id=question_id, text=text, image=image, **more)  # type: ignore[arg-type]


def answered(reply: Reply) -> Answer:
    """The answer of a reply that must have one."""
    assert reply.answer is not None, reply.failure
    return reply.answer


def failed(reply: Reply) -> Failure:
    """The failure of a reply that must have one."""
    assert reply.failure is not None, reply.answer
    return reply.failure


def running(session: WorkerSession) -> int:
    """The process id of a session that must have a worker."""
    assert session.pid is not None
    return session.pid


class Settings(TypedDict, total=False):
    """What a test may set of a session, beside its adapter."""

    log_directory: Path | None
    policy: MemoryPolicy
    timeouts: Timeouts
    limits: Limits


class Opener(Protocol):
    """Makes a session over an adapter of `tests.worker.adapters`."""

    def __call__(
        self,
        adapter: str,
        *,
        options: dict[str, object] | None = None,
        python: Path | None = None,
        label: str | None = None,
        **settings: Unpack[Settings],
    ) -> WorkerSession: ...
