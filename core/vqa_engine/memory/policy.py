"""What the caller allows: how much memory, and whether an answer may be degraded."""

from __future__ import annotations

from attrs import field, frozen, validators

from vqa_engine.adapter.numbers import whole


@frozen(kw_only=True)
class MemoryPolicy:
    """The caller's word on memory; it crosses the process boundary as it is.

    `budget` is the bytes that the model's library may hold (weights, KV cache,
    activations and pool; not the interpreter), None for what the machine offers.
    `lossy` allows plans that may change the text: a quantised KV cache, a smaller image.
    `saver` computes in small pieces also where memory would allow more: a quarter to a third
    of the peak for up to a third of the speed (docs/memory.md).
    """

    budget: int | None = field(default=None, validator=validators.optional(whole(1)))
    lossy: bool = False
    saver: bool = False
