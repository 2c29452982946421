"""What comes back up: an answer or a failure for each question, and what memory did."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from vqa_engine.adapter import Answer, GenerationPlan, MemoryProfile, MemoryReading, Question

Cause = Literal[
    "image",
    "out_of_memory",
    "too_big",
    "handle_limit",
    "watchdog",
    "killed",
    "crashed",
    "hung",
    "backend",
    "adapter",
    "python",
]
"""Why a question failed (shared/facts/memory.md, "Texts to classify")."""


@frozen(kw_only=True)
class MemoryEvent:
    """One thing the engine did about memory.

    `call` is the backend call that was made, `freed` the bytes it gave back (negative
    when it grew), `seconds` how long it took. `question_id` is None outside a question.
    """

    strategy: str
    call: str
    freed: int = 0
    seconds: float = 0.0
    question_id: int | str | None = None


@frozen(kw_only=True)
class Attempt:
    """One try at a question that did not give an answer: the plan, and what happened."""

    plan: GenerationPlan
    cause: Cause
    message: str


@frozen(kw_only=True)
class Failure:
    """Why a question has no answer.

    `message` is one sentence, `detail` a traceback or a tail of stderr, `attempts`
    every try, oldest first.
    """

    cause: Cause
    message: str
    detail: str = ""
    attempts: tuple[Attempt, ...] = ()


@frozen(kw_only=True)
class Reply:
    """What a session says of one question: an answer or a failure, never both.

    `attempts` are the tries that failed before the answer came.
    """

    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    events: tuple[MemoryEvent, ...] = ()


@frozen(kw_only=True)
class Loaded:
    """What a session says after loading: the exact profile, seconds taken, memory."""

    profile: MemoryProfile
    seconds: float
    memory: MemoryReading
    events: tuple[MemoryEvent, ...] = ()


@frozen(kw_only=True)
class Released:
    """What a session says after releasing: `residue` bytes stay above the floor."""

    residue: int | None
    seconds: float
    events: tuple[MemoryEvent, ...] = ()


@frozen(kw_only=True)
class Row:
    """One question put to one adapter: the unit of the journal and of every export.

    `seconds` is the wall time the question took, the engine's own share included.
    """

    adapter: str
    question: Question
    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0

    @property
    def degraded(self) -> bool:
        """Whether the answer came from a cheaper plan than the one asked for."""
        return self.answer is not None and self.answer.plan.rung > 0
