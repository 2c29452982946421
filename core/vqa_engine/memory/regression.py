"""Linear regression that learns from one point at a time, in a few microseconds."""

from __future__ import annotations

from collections.abc import Sequence

_NOISE = 0.04**2
"""Variance of a truth about its prediction, relative: the mean error that was measured
(docs/facts/memory.md, "Prediction")."""


class Regression:
    """Bayesian linear regression on some of the regressors: `columns` are their places.

    `weights` start as the prior's mean. The prior's spread is set by the first truth: any
    one term might explain all of it. Errors count relative to the truth, so that small
    questions are fitted as well as large ones.
    """

    def __init__(self, columns: Sequence[int], weights: Sequence[float]) -> None:
        self._columns = tuple(columns)
        self.weights = list(weights)
        self._spread: list[list[float]] = []

    def predict(self, regressors: Sequence[float]) -> float:
        """The expected value, never negative."""
        pairs = zip(self.weights, self._columns, strict=True)
        return max(0.0, sum(weight * regressors[column] for weight, column in pairs))

    def learn(self, regressors: Sequence[float], truth: float) -> None:
        """Take in one point; `truth` is positive."""
        mine = [regressors[column] for column in self._columns]
        if not self._spread:
            self._spread = _prior(mine, truth)
        self._update([x / truth for x in mine])

    def doubt(self) -> None:
        """Hold the weights for a guess again: the next truth may move them anywhere."""
        self._spread = []

    def _update(self, x: list[float]) -> None:
        """The Kalman step of a regression with known noise, for a truth of 1."""
        px = [sum(p * v for p, v in zip(row, x, strict=True)) for row in self._spread]
        # Rounding may bring the explained part below zero once nearly all is known.
        variance = _NOISE + max(0.0, sum(p * v for p, v in zip(px, x, strict=True)))
        error = 1.0 - sum(w * v for w, v in zip(self.weights, x, strict=True))
        for i, gain in enumerate(px):
            self.weights[i] += gain * error / variance
            row = self._spread[i]
            for j, other in enumerate(px):
                row[j] -= gain * other / variance


def _prior(regressors: list[float], truth: float) -> list[list[float]]:
    """A diagonal: each term's weight, give or take what would explain the whole truth."""
    spread = [truth / x if x else truth for x in regressors]
    size = range(len(spread))
    return [[spread[i] ** 2 if i == j else 0.0 for j in size] for i in size]
