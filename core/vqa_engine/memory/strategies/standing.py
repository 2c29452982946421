"""Strategies that hold for as long as a model is loaded: bound, don't sweep."""

from __future__ import annotations

from attrs import evolve, field, frozen, validators

from vqa_engine.adapter import Bound, CleanupStrategy, Controls, GenerationPlan, Moment

MIB = 1 << 20
GIB = 1 << 30

_SMALLEST_POOL = 32 * MIB
"""MLX's own limit on the CPU; its table of pools shows no cost at this size
(docs/facts/memory.md, "Bounding the pool")."""

_LARGEST_POOL = 512 * MIB

_RETUNED_AFTER = 32
"""Questions after which the largest need so far is assumed to be the largest of all."""


@frozen
class CacheLimit(CleanupStrategy):
    """Keep the backend's pool of freed buffers under `limit` bytes, always.

    MLX's pool grows with the number of distinct tensor shapes; a standing limit bounds
    it by construction (docs/facts/memory.md, "Bounding the pool"). Without a limit one
    is chosen: a sixteenth of the weights, never more than a quarter of what the budget
    leaves beside them, and later no more than a question was seen to need, since a larger
    pool is never reused in one.
    """

    limit: int | None = field(default=None, validator=validators.optional(validators.ge(0)))

    def bind(self, controls: Controls) -> Bound:
        undo = controls.limit_cache(self.name, self.limit or self._first(controls))
        if self.limit is not None:
            return Bound(undo=undo)
        return Bound(undo=undo, after=lambda moment: self._retune(controls, moment))

    def _first(self, controls: Controls) -> int:
        weights = controls.weights
        wanted = min(max(weights // 16, _SMALLEST_POOL), _LARGEST_POOL)
        if controls.budget is None:
            return wanted
        return min(wanted, max(0, controls.budget - weights) // 4)

    def _retune(self, controls: Controls, moment: Moment) -> None:
        if moment.number < _RETUNED_AFTER or not controls.largest:
            return
        wanted = min(max(controls.largest, _SMALLEST_POOL), self._first(controls))
        if controls.cache_limit is not None and wanted < controls.cache_limit:
            controls.limit_cache(self.name, wanted)


@frozen
class PrefillStep(CleanupStrategy):
    """Compute at most `tokens` prompt tokens at once.

    The largest lossless lever on the peak (docs/facts/memory.md, "Chunked prefill").
    Without a number one is chosen by the model's size, since the work space of a step
    grows with the model: 512 under 1 GiB of weights, 256 under 4 GiB, 128 above.
    """

    tokens: int | None = field(default=None, validator=validators.optional(validators.ge(1)))

    def bind(self, controls: Controls) -> Bound:
        step = self.tokens or self._by_size(controls.weights)
        controls.note(self.name, f"plan.prefill_step={step}")

        def narrow(plan: GenerationPlan) -> GenerationPlan:
            return plan if plan.prefill_step is not None else evolve(plan, prefill_step=step)

        return Bound(plan=narrow)

    @staticmethod
    def _by_size(weights: int) -> int:
        if weights < GIB:
            return 512
        return 256 if weights < 4 * GIB else 128


@frozen
class EncoderBatch(CleanupStrategy):
    """Encode at most `tiles` image tiles or crops at once, where the adapter can.

    Seventeen tiles then need no more memory at once than a few do.
    """

    tiles: int = field(default=4, validator=validators.ge(1))

    def bind(self, controls: Controls) -> Bound:
        controls.note(self.name, f"plan.encoder_batch={self.tiles}")

        def narrow(plan: GenerationPlan) -> GenerationPlan:
            return (
                plan if plan.encoder_batch is not None else evolve(plan, encoder_batch=self.tiles)
            )

        return Bound(plan=narrow)
