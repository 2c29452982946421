"""Cleaning every so many questions."""

from __future__ import annotations

from attrs import field, frozen, validators

from vqa_engine.adapter import Bound, CleanupStrategy, Controls, Moment

LONGEST = 16
"""A dynamic interval grows to this multiple of what was asked for."""


@frozen
class EveryQuestions(CleanupStrategy):
    """Make `calls` every `n` questions.

    With `dynamic` the interval follows use: it doubles each time a cleanup gave back
    next to nothing (under 1 MiB), and returns to `n` when one gave back as much as a
    question needs. The first-party adapters do not need this strategy: a standing
    `CacheLimit` bounds the same pool without pauses.
    """

    n: int = field(default=5, validator=validators.ge(1))
    calls: tuple[str, ...] = ("clear_cache",)
    dynamic: bool = True

    def bind(self, controls: Controls) -> Bound:
        for call in self.calls:
            controls.call(call)
        return Bound(after=_Interval(self, controls).after)


class _Interval:
    """One bound `EveryQuestions`: how long the interval is now, and when it ends."""

    def __init__(self, strategy: EveryQuestions, controls: Controls) -> None:
        self._strategy, self._controls = strategy, controls
        self._length = self._due = strategy.n

    def after(self, moment: Moment) -> None:
        if moment.number < self._due:
            return
        strategy, controls = self._strategy, self._controls
        freed = sum(controls.act(strategy.name, call) for call in strategy.calls)
        if strategy.dynamic:
            self._length = self._next(freed)
        self._due = moment.number + self._length

    def _next(self, freed: int) -> int:
        if freed < 1 << 20:
            return min(self._length * 2, self._strategy.n * LONGEST)
        return self._strategy.n if freed >= self._controls.largest else self._length
