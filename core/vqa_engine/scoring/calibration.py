"""Whether probabilities are as high as the answers are right: bins, and the expected error.

The expected calibration error is that of Guo et al., "On Calibration of Modern Neural Networks"
(ICML 2017), equation 5, with ten bins of equal width: the gap between mean probability and
accuracy in each bin, weighted by its share of the answers.
"""

from __future__ import annotations

import math

from attrs import define, field, frozen

_BINS = 10


@frozen(kw_only=True)
class Bin:
    """Answers whose probability is above `low` and at most `high`; 0 is in the first bin.

    `probability` and `accuracy` are means (0..1).
    """

    low: float
    high: float
    count: int
    probability: float
    accuracy: float

    @property
    def gap(self) -> float:
        """Accuracy less mean probability: below 0 the model is too sure of itself."""
        return self.accuracy - self.probability

    @property
    def name(self) -> str:
        """Its bounds in per cent."""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f} %"


@frozen(kw_only=True)
class Calibration:
    """The bins that have answers, how many these are, and the expected calibration error (0..1)."""

    bins: tuple[Bin, ...]
    count: int
    error: float


@define
class _Sums:
    count: int = 0
    probability: float = 0.0
    score: float = 0.0


@define
class Reliability:
    """Collects answers with a probability, one by one; it keeps ten bins and no answer."""

    _sums: tuple[_Sums, ...] = field(factory=lambda: tuple(_Sums() for _ in range(_BINS)))

    def add(self, probability: float, score: float) -> None:
        """Take in one answer; both numbers are in 0..1."""
        sums = self._sums[max(0, math.ceil(probability * _BINS) - 1)]
        sums.count += 1
        sums.probability += probability
        sums.score += score

    def calibration(self) -> Calibration | None:
        """That of all answers so far; None without any."""
        bins = tuple(_bin(number, sums) for number, sums in enumerate(self._sums) if sums.count)
        count = sum(one.count for one in bins)
        if not count:
            return None
        error = sum(one.count * abs(one.gap) for one in bins) / count
        return Calibration(bins=bins, count=count, error=error)


def _bin(number: int, sums: _Sums) -> Bin:
    return Bin(
        low=number / _BINS,
        high=(number + 1) / _BINS,
        count=sums.count,
        probability=sums.probability / sums.count,
        accuracy=sums.score / sums.count,
    )
