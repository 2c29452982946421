"""Runs an adapter through a session, as the engine does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from tests.asking import replies_to, reply_to
from tests.builders import a_question
from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryReading,
    ModelAdapter,
    ModelRef,
    Question,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import LeakVerdict, Loaded, MemoryEvent, Released, Reply
from vqa_engine.session.local import LocalSession


@frozen(kw_only=True)
class Ran:
    """All that came back from one session."""

    loaded: Loaded
    replies: list[Reply] = field(factory=list)
    released: Released

    @property
    def verdict(self) -> LeakVerdict:
        return self.released.verdict

    @property
    def events(self) -> list[MemoryEvent]:
        """The events of all questions."""
        return [event for reply in self.replies for event in reply.events]

    @property
    def texts(self) -> list[str | None]:
        return [reply.answer.text if reply.answer else None for reply in self.replies]

    @property
    def answers(self) -> list[Answer]:
        return [reply.answer for reply in self.replies if reply.answer]

    @property
    def readings(self) -> list[MemoryReading]:
        """The counters after each answered question."""
        return [answer.memory for answer in self.answers if answer.memory]

    @property
    def peaks(self) -> list[int]:
        return [reading.peak or 0 for reading in self.readings]


def run(
    adapter: ModelAdapter,
    count: int = 64,
    plan: GenerationPlan | None = None,
    policy: MemoryPolicy | None = None,
    stride: int = 1,
) -> Ran:
    """Load, ask `count` questions with ids `0, stride, 2·stride, …`, release."""
    asked = [a_question(number * stride) for number in range(count)]
    return run_all(adapter, asked, plan or GenerationPlan(), policy=policy)


def run_all(
    adapter: ModelAdapter,
    asked: Iterable[Question],
    plan: GenerationPlan,
    *,
    model: ModelRef | None = None,
    policy: MemoryPolicy | None = None,
) -> Ran:
    """Load, ask these questions, release."""
    session = LocalSession(adapter, model or ModelRef(), policy)
    loaded = session.load()
    replies = [reply_to(session, question, plan) for question in asked]
    return Ran(loaded=loaded, replies=replies, released=session.release())


def run_together(adapter: ModelAdapter, asked: Sequence[Question], policy: MemoryPolicy) -> Ran:
    """As `run_all`, with as many at once as the adapter takes."""
    session = LocalSession(adapter, ModelRef(), policy)
    loaded, replies = session.load(), replies_to(session, asked)
    return Ran(loaded=loaded, replies=replies, released=session.release())
