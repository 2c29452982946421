"""One adapter that is served: what waits for it, and its session while it is resident."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, perf_counter
from typing import TypeVar

from vqa_engine.adapter import GenerationPlan
from vqa_engine.results import Loaded, Released
from vqa_engine.serving.waiting import Ticket, upcoming
from vqa_engine.session.protocol import Session, Settled

TURN_REQUESTS, TURN_SECONDS = 20, 10.0
"""How much of both a model gets before it has to make room for another, where both are asked
without a pause and do not fit together: a load takes seconds, so a shorter turn is all loading."""

QUIET = 1.0
"""Seconds without a request after which a model is idle. Less is a client's own pause between
two requests."""

TICK = 0.05
"""Seconds between two looks at whether a turn is over."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Model:
    """A model and its line. All but the session's own calls happens in the event loop's thread.

    `start` makes a session that may hold so many bytes, None for what the machine offers.
    `need` is the bytes that it is expected to need, None if nobody knows. `images` is how many
    pictures a question may have.
    """

    def __init__(
        self, label: str, need: int | None, start: Callable[[int | None], Session], images: int = 1
    ) -> None:
        self.label, self.need, self.images = label, need, images
        self.waiting: list[Ticket] = []
        self.asked = asyncio.Event()
        self.using = asyncio.Lock()
        self.loaded: Loaded | None = None
        self.answered = 0
        self.last_error = ""
        self.used = self._since = 0.0
        self._turn = 0
        self._start = start
        self._session: Session | None = None
        # All calls of a session come from one thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=label)

    @property
    def resident(self) -> bool:
        """Whether its model is loaded."""
        return self.loaded is not None

    @property
    def busy(self) -> bool:
        """Whether requests are with the model now, or wait for it."""
        return self.using.locked() or bool(self.waiting)

    @property
    def turn_over(self) -> bool:
        """Whether it may be let go for another model's sake."""
        now = monotonic()
        if not self.busy and now - self.used >= QUIET:
            return True
        return self._turn >= TURN_REQUESTS and now - self._since >= TURN_SECONDS

    def add(self, ticket: Ticket) -> None:
        """Put a request into the line."""
        self.waiting.append(ticket)
        self.asked.set()

    def next(self) -> list[Ticket]:
        """What goes to the model next; whoever left goes out of the line first."""
        self.waiting = [ticket for ticket in self.waiting if not ticket.dropped]
        if not self.waiting:
            self.asked.clear()
        return upcoming(self.waiting, self.loaded.window if self.loaded else 1)

    async def load(self, budget: int | None) -> Loaded:
        """Load the model.

        Raises:
            VqaEngineError: it cannot be loaded.
        """
        session = self._session = self._start(budget)
        try:
            self.loaded = await self._call(session.load)
        except Exception:
            self._session = None
            raise
        self._turn, self._since = 0, monotonic()
        self.used = monotonic()
        log.info("%s loaded in %.1f s", self.label, self.loaded.seconds)
        return self.loaded

    async def ask(self, tickets: Sequence[Ticket]) -> tuple[list[tuple[Ticket, Settled]], float]:
        """Ask the first of these, which all have one plan; who is through leaves the line.

        Returns:
            Each that is through with its reply, and the seconds it took all of them.

        Raises:
            VqaEngineError: as `vqa_engine.session.protocol.Session.ask`.
        """
        assert self._session is not None
        by_question = {id(ticket.question): ticket for ticket in tickets}
        questions, plan = [ticket.question for ticket in tickets], self.planned(tickets[0].plan)
        started = perf_counter()
        settled = await self._call(partial(self._session.ask, questions, plan))
        seconds = perf_counter() - started
        through = [(by_question[id(question)], (question, reply)) for question, reply in settled]
        self.forget([ticket for ticket, _ in through])
        self._turn += len(through)
        self.answered += len(through)
        self.used = monotonic()
        return through, seconds

    def planned(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan with what the resident model has of its own."""
        return plan if self.loaded is None else self.loaded.planned(plan)

    def forget(self, tickets: Sequence[Ticket]) -> None:
        """Take these out of the line."""
        gone = set(map(id, tickets))
        self.waiting = [ticket for ticket in self.waiting if id(ticket) not in gone]

    async def vacate(self) -> Released | None:
        """Let the model go for another's sake, once its turn is over and nothing is in flight."""
        while self.resident and not self.turn_over:
            await asyncio.sleep(TICK)
        async with self.using:
            return await self.release()

    async def release(self) -> Released | None:
        """Let the model go, and see that its memory is back; None when there is none."""
        session, self._session = self._session, None
        self.loaded = None
        if session is None:
            return None
        released = await self._call(session.release)
        if released.residue != 0:
            self.last_error = f"its memory was not seen to be free (residue {released.residue})"
            log.warning("%s: %s", self.label, self.last_error)
        return released

    async def close(self) -> Released | None:
        """Let the model go once the questions in flight are answered, and end the thread."""
        async with self.using:
            released = await self.release()
        self._thread.shutdown()
        return released

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
