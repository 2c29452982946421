"""One adapter of a run in many places: its questions, and who is working on them."""

from __future__ import annotations

from attrs import define, field

from vqa_engine.crew.agreement import Agreement
from vqa_engine.crew.place import Presence, Terms
from vqa_engine.crew.shift import Shift
from vqa_engine.crew.work import Bundle, Work
from vqa_engine.errors import VqaEngineError
from vqa_engine.results import Released

_IN_HAND = 2
"""Bundles of a place: one that is being asked and one that waits, so that no model is idle
while its replies travel."""


@define(eq=False)
class Job:
    """One adapter, and all that has to be asked of it.

    `places` is how many sessions it has. `retired` are the sites that cannot run it, with the
    reason. `losses` counts the sites
    that were lost since the last reply. `alone` says that there was no memory for it beside
    other models. `error` is why it ends before all is answered.
    """

    terms: Terms
    work: Work
    agreement: Agreement = field(init=False)
    places: int = 0
    retired: dict[str, VqaEngineError] = field(factory=dict)
    losses: int = 0
    alone: bool = False
    started: bool = False
    loaded: bool = False
    released: Released | None = None
    error: VqaEngineError | None = None

    def __attrs_post_init__(self) -> None:
        self.agreement = Agreement(self.terms.spec)

    @property
    def label(self) -> str:
        """What rows call the adapter."""
        return self.terms.spec.label

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.error is not None or self.work.done

    def fail(self, error: VqaEngineError) -> None:
        """End it; what has no reply stays open."""
        self.error = self.error or error
        self.work.abandon()


@define(eq=False)
class Post:
    """A job's session at a site: what it has in hand, and where it is, once it is loaded."""

    job: Job
    shift: Shift
    window: int = 1
    presence: Presence | None = None
    hand: list[Bundle] = field(factory=list)
    ending: bool = False

    @property
    def idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return self.presence is not None and not self.hand and not self.ending

    def deal(self) -> None:
        """Give it what it may have."""
        while (
            self.presence is not None
            and not self.ending
            and len(self.hand) < _IN_HAND
            and not any(bundle.suspect for bundle in self.hand)
            and (bundle := self._bundle())
        ):
            self.hand.append(bundle)
            self.shift.give(bundle.questions)

    def _bundle(self) -> Bundle | None:
        job = self.job
        return job.work.take(self.window, idle=not self.hand, places=job.places)

    def tidy(self) -> None:
        """Drop the bundles that are through."""
        self.hand = [bundle for bundle in self.hand if bundle.left]

    def end(self) -> None:
        """Let it release its model; one that is still loading, or asking, is cancelled."""
        if self.ending:
            return
        self.ending = True
        if self.presence is None or self.hand:
            self.shift.cancel()
        else:
            self.shift.finish()
