"""Cleaning when memory gets short, and before it does."""

from __future__ import annotations

from attrs import field, frozen, validators

from vqa_engine.adapter import Bound, CleanupStrategy, Controls, Moment
from vqa_engine.errors import BackendError

SHARE = validators.and_(validators.gt(0.0), validators.le(1.0))


@frozen
class OnPressure(CleanupStrategy):
    """Clean when the backend holds more than a share of its budget, or the system is short.

    At `threshold` the `normal` calls are made, at `severe` the `aggressive` ones, each
    once; neither again until use has fallen below `calm` (hysteresis: without it a model
    that lives near the threshold would clean on every question). Where the system itself
    says that memory is short (macOS's pressure level, Linux's PSI), that counts as the
    threshold, and very short as severe, until it says that there is enough.
    """

    threshold: float = field(default=0.8, validator=SHARE)
    severe: float = field(default=0.95, validator=SHARE)
    calm: float = field(default=0.6, validator=SHARE)
    normal: tuple[str, ...] = ("clear_cache",)
    aggressive: tuple[str, ...] = ("gc.collect", "clear_cache")

    def __attrs_post_init__(self) -> None:
        if not self.calm < self.threshold <= self.severe:
            raise ValueError("OnPressure needs calm < threshold <= severe")

    def bind(self, controls: Controls) -> Bound:
        for call in (*self.normal, *self.aggressive):
            controls.call(call)
        _need_budget(self, controls)
        return Bound(after=_Valve(self, controls).after)


class _Valve:
    """One bound `OnPressure`: 0 calm, 1 after a normal cleanup, 2 after an aggressive one."""

    def __init__(self, strategy: OnPressure, controls: Controls) -> None:
        self._strategy, self._controls = strategy, controls
        self._stage = 0

    def after(self, moment: Moment) -> None:
        share = moment.held / moment.budget if moment.budget else 0.0
        if share < self._strategy.calm and not moment.pressure:
            self._stage = 0
            return
        wanted = max(moment.pressure, self._wanted(share))
        if wanted > self._stage:
            self._open(wanted, (self._strategy.normal, self._strategy.aggressive)[wanted - 1])

    def _wanted(self, share: float) -> int:
        if share >= self._strategy.severe:
            return 2
        return 1 if share >= self._strategy.threshold else 0

    def _open(self, stage: int, calls: tuple[str, ...]) -> None:
        for call in calls:
            self._controls.act(f"{self._strategy.name} {('normal', 'aggressive')[stage - 1]}", call)
        self._stage = stage


@frozen
class Predictive(CleanupStrategy):
    """Clean before a question whose predicted peak would pass a `share` of the budget.

    The calls are made in order, and only as long as the prediction does not fit.
    """

    share: float = field(default=0.9, validator=SHARE)
    calls: tuple[str, ...] = ("clear_cache", "gc.collect", "clear_cache")

    def bind(self, controls: Controls) -> Bound:
        for call in self.calls:
            controls.call(call)
        _need_budget(self, controls)

        def before(moment: Moment) -> None:
            if moment.predicted is None or moment.budget is None:
                return
            room = round(moment.budget * self.share) - moment.predicted
            for call in self.calls:
                if controls.held() <= room:
                    return
                controls.act(self.name, call)

        return Bound(before=before)


def _need_budget(strategy: CleanupStrategy, controls: Controls) -> None:
    if controls.budget is None:
        raise BackendError(
            f"{strategy.name}: budget",
            f"the backend {controls.backend_name!r} reports no limit on this machine",
            "Give one: --memory-budget 6GiB",
        )
