"""Whether probabilities are as high as the answers are right: bins, and the expected error.

The expected calibration error is that of Guo et al., "On Calibration of Modern Neural Networks"
(ICML 2017), equation 5, with ten bins of equal width: the gap between mean probability and
accuracy in each bin, weighted by its share of the answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from attrs import frozen

_BINS = 10


@frozen(kw_only=True)
class Bin:
    """Answers whose probability is above `low` and at most `high`; 0 is in the first bin.

    `probability` and `accuracy` are means (0..1), NaN without answers.
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


@frozen(kw_only=True)
class Calibration:
    """The bins, and the expected calibration error (0..1, NaN without answers)."""

    bins: tuple[Bin, ...]
    count: int
    error: float


def calibration(answers: Iterable[tuple[float, float]]) -> Calibration:
    """Of (probability, score) of each answer, both 0..1."""
    found: list[list[tuple[float, float]]] = [[] for _ in range(_BINS)]
    for probability, score in answers:
        found[max(0, math.ceil(probability * _BINS) - 1)].append((probability, score))
    bins = tuple(_bin(number, pairs) for number, pairs in enumerate(found))
    count = sum(one.count for one in bins)
    gaps = sum(one.count * abs(one.gap) for one in bins if one.count)
    return Calibration(bins=bins, count=count, error=gaps / count if count else math.nan)


def _bin(number: int, pairs: list[tuple[float, float]]) -> Bin:
    count = len(pairs)
    return Bin(
        low=number / _BINS,
        high=(number + 1) / _BINS,
        count=count,
        probability=sum(one for one, _ in pairs) / count if count else math.nan,
        accuracy=sum(one for _, one in pairs) / count if count else math.nan,
    )
