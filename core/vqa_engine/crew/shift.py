"""One session at one site, used by a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event, Thread
from time import perf_counter

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.crew.place import Presence, Site, Terms
from vqa_engine.errors import PlaceLost, VqaEngineError
from vqa_engine.plugins.entry_points import reason
from vqa_engine.results import Loaded, Note, Released
from vqa_engine.session.protocol import Session, Settled

log = logging.getLogger(__name__)


@frozen(eq=False)
class Ready:
    """The model is loaded, and where."""

    shift: Shift
    loaded: Loaded
    presence: Presence


@frozen(eq=False)
class Answered:
    """What one exchange settled, and how long it took."""

    shift: Shift
    settled: Sequence[Settled]
    seconds: float


@frozen(eq=False)
class Noted:
    """Something was logged while a model of this label was loaded."""

    label: str
    note: Note


@frozen(eq=False)
class Over:
    """The session is released and the thread ends; `error` is why, None when it was told to."""

    shift: Shift
    error: BaseException | None
    released: Released


Happening = Ready | Answered | Noted | Over
"""What a shift says; each goes through one queue to the thread that keeps the journal."""


class Shift:
    """Loads a model at a site, asks it what it is given under `plan`, and releases it.

    Everything that happens goes to `tell`, from the shift's thread; `Over` comes last, once,
    whatever happens.
    """

    def __init__(
        self,
        site: Site,
        terms: Terms,
        plan: GenerationPlan,
        tell: Callable[[Happening], None],
        delay: float = 0.0,
    ) -> None:
        self.site = site
        self._terms, self._tell, self._delay = terms, tell, delay
        self.plan = terms.spec.planned(plan)
        self._inbox: SimpleQueue[Sequence[Question] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"place {site.name}", daemon=True)

    @property
    def cancelled(self) -> Event:
        """Set by `cancel`."""
        return self._terms.cancelled

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def give(self, questions: Sequence[Question]) -> None:
        """Have these asked, after all that was given before."""
        self._inbox.put(questions)

    def finish(self) -> None:
        """Release the model once all is asked."""
        self._inbox.put(None)

    def cancel(self) -> None:
        """Wait for nothing any more, and end."""
        self.cancelled.set()
        self._inbox.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        released = Released(residue=None, seconds=0.0)
        try:
            if not self.cancelled.wait(self._delay):
                released = self._serve()
        except BaseException as raised:  # noqa: BLE001  the thread that waits for us raises it
            error = self._blamed(raised)
        self._tell(Over(self, error, released))

    def _blamed(self, error: BaseException) -> BaseException:
        """The error; one that is none of ours is what became of another package's place."""
        ours = type(self.site).__module__.partition(".")[0] == __name__.partition(".")[0]
        if ours or isinstance(error, VqaEngineError | KeyboardInterrupt):
            return error
        return PlaceLost(self.site.name, reason(error))

    def _serve(self) -> Released:
        session = self.site.session(self._terms)
        try:
            loaded = session.load()
            self.plan = loaded.planned(self.plan)
            self._tell(Ready(self, loaded, self.site.presence()))
            self._ask_all(session)
        except BaseException:
            self._release(session)
            raise
        return session.release()

    def _ask_all(self, session: Session) -> None:
        hand: list[Question] = []
        while self._fill(hand):
            started = perf_counter()
            settled = session.ask(hand, self.plan)
            through = {id(question) for question, _ in settled}
            hand[:] = [question for question in hand if id(question) not in through]
            self._tell(Answered(self, settled, perf_counter() - started))

    def _fill(self, hand: list[Question]) -> bool:
        """Add what was given meanwhile, and wait for it if there is nothing to ask."""
        while not hand or not self._inbox.empty():
            given = self._inbox.get()
            if given is None:
                return False
            hand.extend(given)
        return not self.cancelled.is_set()

    def _release(self, session: Session) -> None:
        """After an error, which is the one that counts."""
        try:
            session.release()
        except Exception as error:  # noqa: BLE001  a second error of the same place
            log.info("%s: its release failed: %s", self.site.name, error)
