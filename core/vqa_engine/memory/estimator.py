"""What a question will need above the floor, learned online.

The prefill follows `a + b·K + c·s + d·s·C + e·tiles`: K positions that the KV cache
allocates, and the largest chunk of the prompt, s tokens that look at a context of C. With a step S
this is the form `a + b·T + c·S·T` of docs/facts/memory.md ("Prediction"); split into chunks it
also holds for a question whose image is computed by itself first. A question whose image is
computed already has a line of its own: it starts from what the image's question left behind.

The vision encoder runs before the prefill, so the peak is the highest of the stages, not
their sum: another line, of the tiles encoded at once and of all tiles, covers the questions
whose peak the encoder sets. The highest line claims the peak and learns from it, and so does
every line that is above it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, MemoryProfile, QuestionCost
from vqa_engine.memory.regression import Line

DEFAULT_STEP = 2048
"""mlx-vlm's prefill step when none is given (docs/facts/mlx_vlm.md)."""

MARGIN = 0.25
"""The share added to a prediction to get its upper bound: of 1,668 questions and batches none
needed more after ten of warm-up, and with an eighth a few did (benchmarks/prediction.py)."""

_OVER = 0.05
_DOUBT = 0.7
"""A line that overstates a need by more than the first share keeps the second of what it knew: it
was taught another stage's peaks, or those of a library that ran further ahead."""

Vector = tuple[float, ...]


@frozen
class Stages:
    """What a question puts through the model under a plan, stage by stage.

    `encoder` is (tiles encoded at once, tiles), None without tiles. `chunks` has
    (1, K, s, s·C, tiles beside it) of the prefill's largest chunks, at least one. `freed` are
    the bytes of caches that make room before it all.
    """

    encoder: Vector | None
    chunks: tuple[Vector, ...]
    freed: int = 0

    @property
    def step(self) -> float:
        """Tokens of the largest chunk."""
        return max(chunk[2] for chunk in self.chunks)


def stages(cost: QuestionCost, plan: GenerationPlan, *, beside: bool = False) -> Stages:
    """The regressors of a question under a plan.

    `beside` says that its tiles lie beside the prefill: the model is run as a whole.
    """
    tiles = float(cost.image_tiles)
    at_once = min(tiles, float(plan.encoder_batch or tiles))
    return Stages(
        encoder=(at_once, tiles) if tiles else None,
        chunks=tuple(_chunks(cost, plan.prefill_step or DEFAULT_STEP, tiles * beside)),
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
    """A line for each stage, the highest of which counts; about 40 µs per question to learn.

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
        self._kv = kv
        self._encoder = Line((tile, 0.0))
        self._prefill = Line((0.0, kv, own, pair, 0.0), free=True)
        self._further: Line | None = None
        self._seeded = any((pair, tile))
        self._mean = 0.0
        self._least_step, self._most_step, self._most_tiles = float("inf"), 0.0, 0.0
        self.learned = 0

    @property
    def known(self) -> bool:
        """Whether a prediction is more than a lower bound.

        The KV cache alone is that: what a question computes beside it may be fifty
        times larger in a small model.
        """
        return self.learned > 0 or self._seeded

    def predict(self, question: Stages) -> float:
        """Expected bytes above the floor; never negative."""
        return max(0.0, self._need(question) - question.freed)

    def bound(self, question: Stages) -> int:
        """What a question will not need more than, in bytes: prediction and margin.

        The margin is a share of the prediction or of the mean need so far, whichever is more:
        what wavers is a few buffers more or less, and of a tiny need they are several times it.
        A step larger than any measured is taken to need as many times more beside the KV cache,
        and so are more tiles at once: with weights that are not negative it cannot need more
        than that, and what small steps taught says little about the term that dominates large
        ones, or about a prefill that the encoder's peak has covered.
        """
        need = self._need(question)
        if self.learned:
            need = max(need, *self._stretched(question))
        return max(0, int(need + MARGIN * max(need, self._mean)) + 1 - question.freed)

    def _stretched(self, question: Stages) -> Iterator[float]:
        """The need of larger steps and more tiles, as a multiple of the largest measured."""
        yield 0.0
        stretch = question.step / self._most_step
        if stretch > 1.0:
            chunks = tuple(_smaller(question.chunks, stretch))
            fixed = min(0.0, self._line(question).weights[0])
            fixed += self._kv * max(cached for _, cached, *_ in chunks)
            need = self._need(evolve(question, chunks=chunks))
            yield fixed + stretch * max(0.0, need - fixed)
        if question.encoder is not None and question.encoder[0] > self._most_tiles > 0.0:
            many, tiles = question.encoder
            fewer = (self._most_tiles, tiles)
            yield many / self._most_tiles * self._encoder.predict(fewer)

    def has_seen(self, question: Stages) -> bool:
        """Whether a step this small was ever measured; else the prediction extrapolates."""
        return question.step >= self._least_step

    def learn(self, question: Stages, truth: int) -> None:
        """Take in one question's measured peak above the floor, in bytes."""
        if truth <= 0:
            return
        need = truth + question.freed
        if question.encoder is None and self._further is None:
            self._further = self._prefill.copy()
        lines = [(line, terms, line.predict(terms)) for line, terms in self._stages(question)]
        highest = max(said for _, _, said in lines)
        for line, terms, said in lines:
            if not self.learned or said == highest or said > need:
                line.learn(terms, need, *([_DOUBT] if said > need * (1.0 + _OVER) else []))
        self._least_step = min(self._least_step, question.step)
        self._most_step = max(self._most_step, question.step)
        if question.encoder is not None:
            self._most_tiles = max(self._most_tiles, question.encoder[0])
        self.learned += 1
        self._mean += (need - self._mean) / self.learned

    def _need(self, question: Stages) -> float:
        found = [line.predict(terms) for line, terms in self._stages(question)]
        if self._further is not None:
            found += map(self._further.predict, question.chunks)
        return max(found)

    def _stages(self, question: Stages) -> Iterator[tuple[Line, Vector]]:
        """Each stage's line and what it is asked about; of the chunks, the dearest."""
        line = self._line(question)
        yield line, max(question.chunks, key=line.predict)
        if question.encoder is not None:
            yield self._encoder, question.encoder

    def _line(self, question: Stages) -> Line:
        """The prefill's, or that of a question whose image is computed already."""
        return (self._further if question.encoder is None else None) or self._prefill


def _smaller(chunks: tuple[Vector, ...], stretch: float) -> Iterator[Vector]:
    """Chunks so many times smaller, in the same context."""
    for one, cached, size, pairs, tiles in chunks:
        yield one, cached, size / stretch, pairs / stretch, tiles
