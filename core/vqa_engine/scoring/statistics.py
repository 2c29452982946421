"""Intervals that are right when questions share images, and the tests that compare two runs.

Sources: Miller, Adding Error Bars to Evals (arXiv 2411.00640), for clustered standard errors
and paired differences; Korn and Graubard, Survey Methodology 24 (1998), for the effective
sample size; Efron and Tibshirani, An Introduction to the Bootstrap (1993).
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter, mul

from attrs import define

Z = 1.959963984540054
"""The normal quantile of 0.975: an interval with it covers 95 %."""

POWER = 0.8416212335729143
"""The normal quantile of 0.8: so many standard errors beyond the half of its interval lies a
difference that is found in 80 % of experiments, or 2.8 from zero where there are many images.
With Student's quantile for the interval it is right within 5 % from four images on."""

MANY = 100
"""Clusters from which on the variance between them is trusted also where it is small."""

_RESAMPLES = 2000
MOST_UNITS = 1000
"""Units that are drawn again; more clusters are joined at random into so many, which changes
the standard error by some 2 % (Wolter, Introduction to Variance Estimation, chapter 2)."""

Counts = Mapping[str, float]
Interval = tuple[float, float]

UNKNOWN: Interval = (math.nan, math.nan)


@define
class Moments:
    """The sums from which a mean and its clustered standard error follow.

    With clusters of one the standard error is the usual one.
    """

    count: int = 0
    total: float = 0.0
    clusters: int = 0
    _squares: float = 0.0
    _products: float = 0.0
    _sizes: int = 0

    def add(self, score: float, cluster_total: float, cluster_count: int) -> None:
        """Add a score to a cluster that had this total and count before."""
        self.count += 1
        self.total += score
        self.clusters += not cluster_count
        self._squares += (2 * cluster_total + score) * score
        self._products += cluster_total + score * (cluster_count + 1)
        self._sizes += 2 * cluster_count + 1

    @property
    def mean(self) -> float:
        """The mean of all scores, of which there is at least one."""
        return self.total / self.count

    def standard_error(self) -> float:
        """The clustered standard error of the mean; nan for a single cluster."""
        if self.clusters < 2:
            return math.nan
        mean = self.mean
        between = self._squares - 2 * mean * self._products + mean**2 * self._sizes
        if between <= 1e-12 * self._sizes:  # what rounding leaves of zero
            return 0.0
        return math.sqrt(between * self.clusters / (self.clusters - 1)) / self.count

    def interval(self) -> Interval:
        """The 95 % interval of a mean of scores in 0..1, in 0..1."""
        mean = min(1.0, max(0.0, self.mean))
        return wilson(mean, self._effective_count(mean))

    def _effective_count(self, mean: float) -> float:
        """Independent answers that would say as much about the mean as these.

        Of scores that are all equal nobody knows how much images differ, so every image
        counts once. Few clusters never count for more than their questions.
        """
        error = self.standard_error()
        if math.isnan(error):
            return 1.0
        if error == 0.0:
            return float(self.clusters)
        certainty = (
            (Z / t_quantile(self.clusters - 1)) ** 2.0 if self.clusters < self.count else 1.0
        )
        effective = mean * (1 - mean) / (error * error) * certainty
        most = math.inf if self.clusters >= MANY else self.count
        return max(1.0, min(effective, most))


def wilson(mean: float, count: float) -> Interval:
    """The 95 % Wilson score interval around `mean` (0..1) of `count` > 0 answers, in 0..1.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927).
    """
    shrink = 1 + Z**2 / count
    centre = (mean + Z**2 / (2 * count)) / shrink
    variance = mean * (1 - mean) / count + Z**2 / (4 * count**2)
    half = Z * math.sqrt(variance) / shrink
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def t_quantile(freedom: int) -> float:
    """The quantile 0.975 of Student's t, within 0.01 (Abramowitz and Stegun, 26.7.5)."""
    exact = {1: 12.7062, 2: 4.3027}
    if freedom in exact:
        return exact[freedom]
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def mcnemar(fixed: int, broken: int) -> float:
    """The two-sided p-value of McNemar's exact test.

    `fixed` and `broken` count the questions that only the second and only the first run
    has right. The test assumes independent questions.
    """
    total, term, tail = fixed + broken, 1, 0
    for wins in range(min(fixed, broken) + 1):
        tail += term
        term = term * (total - wins) // (wins + 1)
    return min(1.0, 2 * tail / (1 << total))


def bootstrap(
    clusters: Sequence[Counts],
    figures: Callable[[Counts], Mapping[str, float]],
    *,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """The 95 % percentile interval of each figure, by drawing clusters with replacement.

    `figures` are computed from the summed counts of the clusters drawn. A figure that is the
    same however they are drawn, such as 0 of 8, has no interval: the draws say nothing of how
    sure it is.
    """
    units = _units(clusters, seed)
    columns = _columns(units)
    drawn = random.Random(seed)
    values: dict[str, list[float]] = defaultdict(list)
    for _ in range(resamples if len(units) > 1 else 0):
        weights = [0] * len(units)
        for unit in drawn.choices(range(len(units)), k=len(units)):
            weights[unit] += 1
        sums = {
            name: sum(map(mul, pick(weights), amounts)) for name, (pick, amounts) in columns.items()
        }
        for name, value in figures(sums).items():
            values[name].append(value)
    return {name: _middle(found) for name, found in values.items() if min(found) < max(found)}


def summed(clusters: Sequence[Counts]) -> dict[str, float]:
    """The counts of all clusters together."""
    total: dict[str, float] = defaultdict(float)
    for counts in clusters:
        for name, amount in counts.items():
            total[name] += amount
    return dict(total)


def _units(clusters: Sequence[Counts], seed: int) -> Sequence[Counts]:
    if len(clusters) <= MOST_UNITS:
        return clusters
    shuffled = list(clusters)
    random.Random(seed).shuffle(shuffled)
    return [summed(shuffled[first::MOST_UNITS]) for first in range(MOST_UNITS)]


def _columns(
    units: Sequence[Counts],
) -> dict[str, tuple[Callable[[list[int]], Sequence[int]], list[float]]]:
    """For each count, a picker of the units that have it, and its amount in each."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        for name, amount in unit.items():
            if amount:
                places[name].append(place)
    return {
        name: (_picker(found), [units[place][name] for place in found])
        for name, found in places.items()
    }


def _picker(places: list[int]) -> Callable[[list[int]], Sequence[int]]:
    if len(places) == 1:  # itemgetter of one place gives no tuple
        return lambda weights: (weights[places[0]],)
    return itemgetter(*places)


def _middle(values: list[float]) -> Interval:
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[round(0.025 * last)], ordered[round(0.975 * last)]
