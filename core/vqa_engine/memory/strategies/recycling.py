"""Asking for a fresh process: the cure for growth that no call gives back."""

from __future__ import annotations

from attrs import field, frozen, validators

from vqa_engine.adapter import Bound, CleanupStrategy, Controls, Moment

_POSITIVE = validators.optional(validators.gt(0))

PATIENCE = 8
"""Questions between two clearings of the pool, which show whether it or a leak is growing."""


@frozen
class RecycleWorker(CleanupStrategy):
    """Ask for the model to be released and loaded afresh; in a worker, for a new process.

    `after` questions, or when the process grows by `slope` bytes per question outside
    the allocator, or when the floor has risen by `residue` bytes since load. Ending the
    process is the one cure that always works (docs/facts/memory.md, "PyTorch").

    A slope is believed only once the pool was cleared: on MPS the driver's figure holds
    the pool as well, and what clearing gives back is no reason for a fresh process.
    """

    after: int | None = field(default=None, validator=_POSITIVE)
    slope: float | None = field(default=None, validator=_POSITIVE)
    residue: int | None = field(default=None, validator=_POSITIVE)

    def __attrs_post_init__(self) -> None:
        if self.after is None and self.slope is None and self.residue is None:
            raise ValueError("RecycleWorker needs at least one of after, slope, residue")

    def bind(self, controls: Controls) -> Bound:
        if self.slope is not None:
            controls.call("footprint")
        if self.residue is not None:
            controls.call("read active")
        return Bound(after=_Recycling(self, controls).after)


class _Recycling:
    """One bound `RecycleWorker`: when the pool was last cleared to see what stays."""

    def __init__(self, strategy: RecycleWorker, controls: Controls) -> None:
        self._strategy, self._controls = strategy, controls
        self._cleared = 0

    def after(self, moment: Moment) -> None:
        reason = self._counted(moment) or self._grown(moment)
        if reason:
            self._controls.ask_recycle(self._strategy.name, reason)

    def _counted(self, moment: Moment) -> str:
        wanted = self._strategy
        if wanted.after is not None and moment.number >= wanted.after:
            return f"{moment.number} questions since load"
        if wanted.residue is not None and moment.rise >= wanted.residue:
            return f"the floor rose by {moment.rise} bytes since load"
        return ""

    def _grown(self, moment: Moment) -> str:
        bound, questions = self._strategy.slope, moment.number - self._cleared
        if bound is None or moment.slope is None or moment.slope < bound or questions < PATIENCE:
            return ""
        self._cleared = moment.number
        slope = moment.slope - self._given_back() / questions
        return f"the process grows by {slope:.0f} bytes per question" if slope >= bound else ""

    def _given_back(self) -> int:
        """Bytes outside the allocator that clearing the pool frees."""
        if not self._controls.has("clear_cache"):
            return 0
        before = self._controls.outside()
        self._controls.act(self._strategy.name, "clear_cache")
        after = self._controls.outside()
        return 0 if before is None or after is None else max(0, before - after)
