"""What a question will need above the floor: `a + b·T + c·S·T + d·tiles`, learned online.

T is the prompt's new tokens, S the prefill step. On 48 questions predicted from 12 this
form was wrong by 4.1 % on average; the last question's figure by 44 %
(shared/facts/memory.md, "Prediction").
"""

from __future__ import annotations

from vqa_engine.adapter import GenerationPlan, MemoryProfile, QuestionCost

DEFAULT_STEP = 2048
"""mlx-vlm's prefill step when none is given (shared/facts/mlx_vlm.md)."""

NOISE = 0.04**2
"""Variance of a truth about its prediction, relative: the measured mean error."""

FIRST_MARGIN = 0.25
LEAST_MARGIN = 0.12
"""Shares added to a prediction, before anything was learned and at least ever after; the
worst under-prediction measured was 10.3 %."""

WARM = 12
"""Questions learned from before the margin follows the errors seen."""

SAFETY = 1.25
"""The margin is this multiple of the worst under-prediction seen."""

FADE = 0.998
"""How much of the worst under-prediction is remembered from question to question."""

Vector = tuple[float, float, float, float]


def features(cost: QuestionCost, plan: GenerationPlan) -> Vector:
    """The regressors (1, T, S·T, tiles) of a question under a plan."""
    new = max(1, cost.prompt_tokens - cost.reused_tokens)
    step = min(plan.prefill_step or DEFAULT_STEP, new)
    tiles = min(cost.image_tiles, plan.encoder_batch or cost.image_tiles)
    return (1.0, float(new), float(step) * cost.prompt_tokens, float(tiles))


class Estimator:
    """Bayesian linear regression, one rank-one update per question (about 10 µs).

    The profile's figures are the prior's mean. Its spread is set by the first truth: any
    one term might explain all of it. Errors count relative to the truth, so that small
    questions are fitted as well as large ones.
    """

    def __init__(self, profile: MemoryProfile) -> None:
        seed = (profile.kv_per_token, profile.attention_per_pair, profile.per_tile)
        self._weights = [0.0, *(float(figure or 0) for figure in seed)]
        self._spread: list[list[float]] = []
        self._worst = 0.0
        self._least_pairs = float("inf")
        self.learned = 0

    @property
    def known(self) -> bool:
        """Whether a prediction rests on anything at all."""
        return self.learned > 0 or any(self._weights)

    @property
    def margin(self) -> float:
        """The share added on top of a prediction to get its upper bound."""
        if self.learned < WARM:
            return max(FIRST_MARGIN, SAFETY * self._worst)
        return max(LEAST_MARGIN, SAFETY * self._worst)

    def predict(self, regressors: Vector) -> float:
        """Expected bytes above the floor; never negative."""
        return max(0.0, sum(w * x for w, x in zip(self._weights, regressors, strict=True)))

    def has_seen(self, regressors: Vector) -> bool:
        """Whether a step this small was ever measured; else the prediction extrapolates."""
        return regressors[2] / regressors[1] >= self._least_pairs * 0.5

    def learn(self, regressors: Vector, truth: int) -> None:
        """Take in one question's measured peak above the floor, in bytes."""
        if truth <= 0:
            return
        if not self._spread:
            self._spread = self._prior(regressors, truth)
        elif self.learned >= 3:
            self._mind(truth, self.predict(regressors))
        self._update([x / truth for x in regressors], 1.0)
        self._least_pairs = min(self._least_pairs, regressors[2] / regressors[1])
        self.learned += 1

    def _mind(self, truth: int, predicted: float) -> None:
        under = (truth - predicted) / max(predicted, 1.0)
        self._worst = max(self._worst * FADE, min(under, 4.0))

    def _prior(self, regressors: Vector, truth: int) -> list[list[float]]:
        """A diagonal: each term's weight, give or take what would explain the truth."""
        spread = [truth / x if x else float(truth) for x in regressors]
        return [
            [spread[i] ** 2 if i == j else 0.0 for j in range(len(spread))]
            for i in range(len(spread))
        ]

    def _update(self, x: list[float], y: float) -> None:
        """The Kalman step of a linear regression with known noise."""
        spread = self._spread
        px = [sum(p * v for p, v in zip(row, x, strict=True)) for row in spread]
        variance = NOISE + max(0.0, sum(p * v for p, v in zip(px, x, strict=True)))
        error = y - sum(w * v for w, v in zip(self._weights, x, strict=True))
        for i, gain in enumerate(px):
            self._weights[i] += gain * error / variance
            row = spread[i]
            for j, other in enumerate(px):
                row[j] -= gain * other / variance
