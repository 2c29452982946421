"""Linear regression that learns from one point at a time, in some 30 microseconds."""

from __future__ import annotations

from collections.abc import Sequence

_FADE = 0.99
"""What a point counts for after another one: the last hundred or so make the line."""

_PRIOR = 1e-3
"""What the first weights count for, as a share of all that was learned."""

_ROUNDS = 6
"""Times that each weight is set to what suits the others; they start near where they end."""


class Line:
    """Weighted terms whose weights are not negative, but for the first when it is `free`.

    More of anything never needs less memory. Errors count relative to the truth, so that
    small questions are fitted as well as large ones. The normal equations are solved one
    weight at a time, each cut off at zero (Franc, Hlaváč, Navara: Sequential Coordinate-Wise
    Algorithm for the Non-negative Least Squares Problem, 2005).
    """

    def __init__(self, weights: Sequence[float], *, free: bool = False) -> None:
        self.weights, self._first = list(weights), tuple(weights)
        self._least = (float("-inf") if free else 0.0, *(0.0 for _ in weights[1:]))
        self._square = [[0.0] * len(weights) for _ in weights]
        self._sides = [0.0] * len(weights)

    def copy(self) -> Line:
        """A line that begins where this one is."""
        return Line(self.weights, free=self._least[0] < 0.0)

    def predict(self, terms: Sequence[float]) -> float:
        """The expected value."""
        return sum(weight * term for weight, term in zip(self.weights, terms, strict=True))

    def learn(self, terms: Sequence[float], truth: float, kept: float = _FADE) -> None:
        """Take in one point; `truth` is positive. What was known counts for `kept` of itself."""
        shares = [term / truth for term in terms]
        for i, (row, share) in enumerate(zip(self._square, shares, strict=True)):
            self._sides[i] = kept * self._sides[i] + share
            row[:] = [kept * old + share * other for old, other in zip(row, shares, strict=True)]
        for _ in range(_ROUNDS):
            self._settle()

    def _settle(self) -> None:
        """Set each weight to the best one beside the others."""
        for i, row in enumerate(self._square):
            own = row[i]
            if own > 0.0:
                others = self.predict(row) - own * self.weights[i]
                best = (self._sides[i] - others + _PRIOR * own * self._first[i]) / own
                self.weights[i] = max(self._least[i], best / (1.0 + _PRIOR))
