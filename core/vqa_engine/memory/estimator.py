"""What a question will need above the floor, learned online.

The prefill follows `a + b·K + c·s + d·s·C + e·tiles`: K positions that the KV cache
allocates, and the largest chunk of the prompt, s tokens that look at a context of C. With a step S
this is the form `a + b·T + c·S·T` of docs/facts/memory.md ("Prediction"), which was wrong by
4.1 % on average on plain questions; split into chunks it also holds for a question whose
image is computed already, or computed by itself first.

The vision encoder runs before the prefill, so the peak is the highest of the stages, not
their sum: a second line, of the tiles encoded at once and of all tiles, covers the questions
whose peak the encoder sets.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, MemoryProfile, QuestionCost
from vqa_engine.memory.regression import Regression

DEFAULT_STEP = 2048
"""mlx-vlm's prefill step when none is given (docs/facts/mlx_vlm.md)."""

FIRST_MARGIN = 0.25
LEAST_MARGIN = 0.12
"""Shares added to a prediction, before anything was learned and at least ever after; the
worst under-prediction measured was 10.3 %."""

_WARM = 12
"""Questions learned from before the margin follows the errors seen."""

_SAFETY = 1.25
"""The margin is this multiple of the worst under-prediction seen."""

_SHARED = 3
"""Questions that both lines learn from, before it is clear whose they are."""

_EXPLAINED = 0.05
"""The encoder's line explains a truth that it misses by no more than this share."""

_FADE = 0.998
"""How much of the worst under-prediction is remembered from question to question."""

Vector = tuple[float, ...]


@frozen
class Stages:
    """What a question puts through the model under a plan, stage by stage.

    `encoder` is (1, tiles encoded at once, tiles), None without tiles. `chunks` has
    (1, K, s, s·C, tiles held) of the prefill's largest chunks, at least one: tiles that are
    not encoded in batches lie beside the prefill. `freed` are the bytes of caches that make
    room before it all.
    """

    encoder: Vector | None
    chunks: tuple[Vector, ...]
    freed: int = 0

    @property
    def step(self) -> float:
        """Tokens of the largest chunk."""
        return max(chunk[2] for chunk in self.chunks)


def stages(cost: QuestionCost, plan: GenerationPlan) -> Stages:
    """The regressors of a question under a plan."""
    tiles = float(cost.image_tiles)
    held = tiles if plan.encoder_batch is None else 0.0
    at_once = min(tiles, float(plan.encoder_batch or tiles))
    return Stages(
        encoder=(1.0, at_once, tiles) if tiles else None,
        chunks=tuple(_chunks(cost, plan.prefill_step or DEFAULT_STEP, held)),
        freed=cost.freed_bytes,
    )


def _chunks(cost: QuestionCost, step: int, held: float) -> Iterator[Vector]:
    """Of what is computed apart and of the rest: the last whole step, and what remains."""
    new = max(1, cost.prompt_tokens - cost.reused_tokens)
    apart = min(cost.apart_tokens, new - 1)
    cached = new if cost.cache_tokens is None else cost.cache_tokens
    reused = cost.reused_tokens
    for before, tokens, taken, rows in (
        (0 if cost.rows > 1 else reused, apart, apart, cost.apart_rows),
        (reused + apart, new - apart, cached, cost.rows),
    ):
        each = tokens // rows
        whole = each - each % step
        for size, reached in ((step, whole), (each % step, each)):
            if size and reached:
                pairs = float(size) * (before + rows * reached)
                yield (1.0, float(taken), float(size * rows), pairs, held)


class Estimator:
    """Two lines, the higher of which counts; about 20 µs per question to learn.

    The memory profile's figures are the first guess.
    """

    def __init__(self, profile: MemoryProfile) -> None:
        kv, pair, own, tile = (
            float(figure or 0)
            for figure in (
                profile.kv_per_token,
                profile.attention_per_pair,
                profile.activations_per_token,
                profile.per_tile,
            )
        )
        self._prefill = Regression((0, 1, 2, 3, 4), (0.0, kv, own, pair, 0.0))
        self._encoder = Regression((0, 1, 2), (0.0, tile, 0.0))
        self._seeded = any((pair, tile))
        self._worst = self._mean = 0.0
        self._least_step, self._most_step, self._most_tiles = float("inf"), 0.0, 0.0
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
        """The share added on top of a prediction to get its upper bound.

        It is a share of the prediction or of the mean need so far, whichever is more: what
        wavers is a few buffers more or less, and of a tiny need they are several times it.
        """
        least = FIRST_MARGIN if self.learned < _WARM else LEAST_MARGIN
        return max(least, _SAFETY * self._worst)

    def predict(self, question: Stages) -> float:
        """Expected bytes above the floor; never negative."""
        return max(0.0, self._need(question) - question.freed)

    def bound(self, question: Stages, *, measured: bool = False) -> int:
        """What a question will not need more than, in bytes: prediction and margin.

        A step larger than any measured is taken to need as many times more, and so are more
        tiles at once: with terms that are not negative it cannot need more than that, and
        what small steps taught says little about the term that dominates large ones. A
        profile's figures make that superfluous, unless what counts is what was `measured`.
        """
        need = self._need(question)
        if self.learned and (measured or not self._seeded):
            need = max(need, *self._stretched(question))
        slack = self.margin * max(need, self._mean)
        return max(0, int(need + slack) + 1 - question.freed)

    def _stretched(self, question: Stages) -> Iterator[float]:
        """The need of larger steps and more tiles, as a multiple of the largest measured."""
        yield 0.0
        stretch = question.step / self._most_step
        if stretch > 1.0:
            yield stretch * max(map(self._prefill.predict, _smaller(question.chunks, stretch)))
        if question.encoder is not None and question.encoder[1] > self._most_tiles > 0.0:
            one, many, tiles = question.encoder
            fewer = (one, self._most_tiles, tiles)
            yield many / self._most_tiles * self._encoder.predict(fewer)

    def has_seen(self, question: Stages) -> bool:
        """Whether a step this small was ever measured; else the prediction extrapolates."""
        return question.step >= self._least_step

    def learn(self, question: Stages, truth: int) -> None:
        """Take in one question's measured peak above the floor, in bytes.

        The encoder's line learns from what the prefill does not explain and from what it
        overstates itself, the prefill's from the rest; both from the first questions.
        """
        need = truth + question.freed
        if truth <= 0:
            return
        chunk = max(question.chunks, key=self._prefill.predict)
        prefill, encoder = self._prefill.predict(chunk), self._encoding(question)
        first = self.learned < _SHARED
        if not first:
            self._mind(need, max(prefill, encoder))
        # The higher line's, unless the prefill's overstates it already.
        encoders = question.encoder is not None and prefill <= encoder
        encoders = encoders and prefill <= need * (1.0 + _EXPLAINED)
        if question.encoder and (first or encoders or encoder > need * (1.0 + _EXPLAINED)):
            if encoder > need * (1.0 + FIRST_MARGIN) and question.encoder[1] >= self._most_tiles:
                self._encoder.doubt()  # it is wrong, not imprecise
            self._encoder.learn(question.encoder, need)
        if first or not encoders:
            if question.encoder is None and prefill > need * (1.0 + FIRST_MARGIN):
                self._prefill.doubt()  # what it learned was the encoder's
            self._prefill.learn(chunk, need)
        self._least_step = min(self._least_step, question.step)
        self._most_step = max(self._most_step, question.step)
        if question.encoder is not None:
            self._most_tiles = max(self._most_tiles, question.encoder[1])
        self.learned += 1
        self._mean += (need - self._mean) / self.learned

    def _need(self, question: Stages) -> float:
        return max(self._encoding(question), *map(self._prefill.predict, question.chunks))

    def _encoding(self, question: Stages) -> float:
        return 0.0 if question.encoder is None else self._encoder.predict(question.encoder)

    def _mind(self, truth: int, predicted: float) -> None:
        under = (truth - predicted) / max(predicted, self._mean, 1.0)
        self._worst = max(self._worst * _FADE, min(under, 4.0))


def _smaller(chunks: tuple[Vector, ...], stretch: float) -> Iterator[Vector]:
    """Chunks so many times smaller, in the same context."""
    for one, cached, size, pairs, tiles in chunks:
        yield one, cached, size / stretch, pairs / stretch, tiles
