"""What a session offers, and what it needs of the place where its model lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, Question, Transfer
from vqa_engine.results import Cause, Failure, Loaded, MemoryEvent, Released, Reply

WINDOW = 256
"""Questions that an adapter which answers several together is offered at once: two of the
largest batches of the torch adapters, so that one can be prepared while another is answered."""

Settled = tuple[Question, Reply]
"""A question and the last word on it."""

OnBegun = Callable[[Sequence[Question]], None]
"""Called with the questions that are about to be answered."""

OnTransfer = Callable[[Transfer], None]
"""Called now and then while a checkpoint is downloaded."""


class Session(Protocol):
    """One adapter, loaded once, asked many times, released once."""

    def load(self) -> Loaded:
        """Load the model and bind its cleanup strategies.

        Raises:
            VqaEngineError: it cannot be loaded; the session is of no more use.
        """

    def ask(self, upcoming: Sequence[Question], plan: GenerationPlan) -> list[Settled]:
        """Ask the first of these, and with it as many as the adapter answers together.

        A fault of a question is a failure in its reply. What is not in the result is still
        to be asked: offer it again. More than the adapter can make use of
        (`Loaded.window`) may be offered.

        Returns:
            At least one question with its reply, in any order.

        Raises:
            WorkerError: no worker loads any more, or one after another dies.
            PlaceLost: the place of the session is gone.
            VqaEngineError: what the adapter raised when it was loaded again.
            AnswerError: the session is not loaded.
        """

    def release(self) -> Released:
        """Let the model go, and report what stayed; calling it twice is safe."""


@frozen(kw_only=True)
class Exchange:
    """What came of asking a model once.

    The first `begun` of the questions were being answered. Either each of them has its
    reply, or `failure` concerns them all and none has one; 0 of them begun means that the
    place died before it chose. `recycle` is why the model should be loaded afresh before the
    next question, empty when it need not be.
    """

    begun: int
    replies: tuple[Reply, ...] = ()
    failure: Failure | None = None
    events: tuple[MemoryEvent, ...] = ()
    recycle: str = ""


class Place(Protocol):
    """Where a model lives: a worker process, or this one. One thread at a time uses it."""

    @property
    def alive(self) -> bool:
        """Whether the model is loaded here."""

    def start(self, *, again: bool = False) -> Loaded:
        """Load the model. With `again` it was loaded before, so a death may be bad luck.

        Raises:
            VqaEngineError: it cannot be loaded.
        """

    def ask(
        self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan, on_begun: OnBegun
    ) -> Exchange:
        """Have the first questions answered, at most `limit` of them; the others come next.

        A place that dies of it is not `alive` afterwards, and the exchange has the failure.
        """

    def stop(self, *, politely: bool) -> tuple[MemoryEvent, ...]:
        """Let the model go, so that `start` loads it afresh."""

    def close(self) -> Released:
        """Let everything go; calling it twice is safe."""


_CURED_BY_RESTART: frozenset[Cause] = frozenset(
    {"out_of_memory", "too_big", "handle_limit", "watchdog", "backend"}
)


def worth_another_try(reply: Reply) -> bool:
    """Whether the adapter reported, without dying, what another try may cure.

    An exception of any other kind would only come again.
    """
    return reply.failure is not None and reply.failure.cause in _CURED_BY_RESTART
