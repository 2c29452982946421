"""Cleanup strategies: what an adapter declares to keep its model's memory in bounds.

A strategy is data. The engine binds it to the backend's calls when the model is loaded
and applies it; see `vqa_engine.memory.governor`.
"""

from __future__ import annotations

from attrs import field, frozen, validators


class CleanupStrategy:
    """Base of every strategy; a third party subclasses it as an `attrs.frozen` record."""


@frozen
class CacheLimit(CleanupStrategy):
    """Keep the backend's pool of freed buffers under `limit` bytes, always.

    MLX's pool grows with the number of distinct tensor shapes; a standing limit bounds
    it by construction (shared/facts/memory.md, "Bounding the pool").
    """

    limit: int = field(validator=validators.ge(0))


@frozen
class PrefillStep(CleanupStrategy):
    """Compute at most `tokens` prompt tokens at once.

    The largest lossless lever on the peak (shared/facts/memory.md, "Chunked prefill").
    """

    tokens: int = field(validator=validators.ge(1))
