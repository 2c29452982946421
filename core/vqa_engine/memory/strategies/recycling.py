"""Asking for a fresh process: the cure for growth that no call gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from vqa_engine.memory.strategies.base import Bound, CleanupStrategy, Moment

if TYPE_CHECKING:
    from vqa_engine.memory.controls import Controls

POSITIVE = validators.optional(validators.gt(0))


@frozen
class RecycleWorker(CleanupStrategy):
    """Ask for the model to be released and loaded afresh; in a worker, for a new process.

    `after` questions, or when the process grows by `slope` bytes per question outside
    the allocator, or when the floor has risen by `residue` bytes since load. Ending the
    process is the one cure that always works (shared/facts/memory.md, "PyTorch").
    """

    after: int | None = field(default=None, validator=POSITIVE)
    slope: float | None = field(default=None, validator=POSITIVE)
    residue: int | None = field(default=None, validator=POSITIVE)

    def __attrs_post_init__(self) -> None:
        if self.after is None and self.slope is None and self.residue is None:
            raise ValueError("RecycleWorker wants at least one of after, slope, residue")

    def bind(self, controls: Controls) -> Bound:
        if self.slope is not None:
            controls.call("footprint")
        if self.residue is not None:
            controls.call("read active")

        def after(moment: Moment) -> None:
            reason = self._reason(moment)
            if reason:
                controls.ask_recycle(self.name, reason)

        return Bound(after=after)

    def _reason(self, moment: Moment) -> str:
        if self.after is not None and moment.number >= self.after:
            return f"{moment.number} questions since load"
        if self.residue is not None and moment.rise >= self.residue:
            return f"the floor rose by {moment.rise} bytes since load"
        if self.slope is not None and moment.slope is not None and moment.slope >= self.slope:
            return f"the process grows by {moment.slope:.0f} bytes per question"
        return ""
