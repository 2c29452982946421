"""What a question will need above the floor: `a + b·T + c·S·T + d·tiles`, learned online.

T is the prompt's new tokens, S the prefill step. On 48 questions predicted from 12 this
form was wrong by 4.1 % on average; the last question's figure by 44 %
(shared/facts/memory.md, "Prediction").

The vision encoder runs before the prefill, so the peak is the higher of two, not their
sum. A second line, of tiles alone, covers the questions whose peak the encoder sets; on
a split-image SmolVLM it halves the error (benchmarks/memory_strategies.py).
"""

from __future__ import annotations

from vqa_engine.adapter import GenerationPlan, MemoryProfile, QuestionCost
from vqa_engine.memory.regression import Regression

DEFAULT_STEP = 2048
"""mlx-vlm's prefill step when none is given (shared/facts/mlx_vlm.md)."""

FIRST_MARGIN = 0.25
LEAST_MARGIN = 0.12
"""Shares added to a prediction, before anything was learned and at least ever after; the
worst under-prediction measured was 10.3 %."""

WARM = 12
"""Questions learned from before the margin follows the errors seen."""

SAFETY = 1.25
"""The margin is this multiple of the worst under-prediction seen."""

SHARED = 3
"""Questions that both lines learn from, before it can be told whose they are."""

EXPLAINED = 0.05
"""The encoder's line explains a truth that it misses by no more than this share."""

REFUTED = 0.25
"""A line of tiles alone that overstates a truth by this share is wrong, not imprecise."""

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
    """Two lines, the higher of which counts; about 20 µs per question to learn.

    The memory profile's figures are the first guess.
    """

    def __init__(self, profile: MemoryProfile) -> None:
        kv, pair, tile = (
            float(figure or 0)
            for figure in (profile.kv_per_token, profile.attention_per_pair, profile.per_tile)
        )
        self._whole = Regression((0, 1, 2, 3), (0.0, kv, pair, tile))
        self._encoder = Regression((0, 3), (0.0, tile))
        self._seeded = any((pair, tile))
        self._worst = 0.0
        self._least_step, self._most_step = float("inf"), 0.0
        self.learned = 0

    @property
    def known(self) -> bool:
        """Whether a prediction is more than a lower bound.

        The KV cache alone is that: what a question computes beside it may be fifty
        times larger in a small model.
        """
        return self.learned > 0 or self._seeded

    @property
    def margin(self) -> float:
        """The share added on top of a prediction to get its upper bound."""
        least = FIRST_MARGIN if self.learned < WARM else LEAST_MARGIN
        return max(least, SAFETY * self._worst)

    def predict(self, regressors: Vector) -> float:
        """Expected bytes above the floor; never negative."""
        return max(self._whole.predict(regressors), self._encoder.predict(regressors))

    def bound(self, regressors: Vector) -> int:
        """What a question will not need more than, in bytes: prediction and margin.

        A step larger than any measured is taken to need as many times more: with terms
        that are not negative it cannot need more than that, and what small steps taught
        says little of the term that large ones are ruled by.
        """
        expected, reached = self.predict(regressors), self._most_step
        if not self._seeded and 0.0 < reached < _step(regressors):
            stretch = _step(regressors) / reached
            one, tokens, pairs, tiles = regressors
            expected = max(expected, stretch * self.predict((one, tokens, pairs / stretch, tiles)))
        return int(expected * (1.0 + self.margin)) + 1

    def has_seen(self, regressors: Vector) -> bool:
        """Whether a step this small was ever measured; else the prediction extrapolates."""
        return _step(regressors) >= self._least_step * 0.5

    def learn(self, regressors: Vector, truth: int) -> None:
        """Take in one question's measured peak above the floor, in bytes.

        The encoder's line learns from what it explains and from what it overstates, the
        other from the rest; both from the first questions.
        """
        if truth <= 0:
            return
        whole, encoder = self._whole.predict(regressors), self._encoder.predict(regressors)
        first = self.learned < SHARED
        if not first:
            self._mind(truth, max(whole, encoder))
        if encoder > truth * (1.0 + REFUTED):
            self._encoder.doubt()
        if first or encoder > truth * (1.0 - EXPLAINED):
            self._encoder.learn(regressors, truth)
        if first or encoder < truth * (1.0 - EXPLAINED) or whole > truth * (1.0 + EXPLAINED):
            self._whole.learn(regressors, truth)
        self._least_step = min(self._least_step, _step(regressors))
        self._most_step = max(self._most_step, _step(regressors))
        self.learned += 1

    def _mind(self, truth: int, predicted: float) -> None:
        under = (truth - predicted) / max(predicted, 1.0)
        self._worst = max(self._worst * FADE, min(under, 4.0))


def _step(regressors: Vector) -> float:
    """S of S·T, relative to the new tokens."""
    return regressors[2] / regressors[1]
