"""How much an MLX model computes at once where a plan leaves it open."""

from __future__ import annotations

from vqa_engine.adapter import CleanupStrategy
from vqa_engine.memory.strategies import EncoderBatch, PrefillStep
from vqa_engine_adapters.mlx.device import on_gpu
from vqa_engine_adapters.mlx.family import MlxFamily

_SMALL = PrefillStep(256), EncoderBatch(1)
"""Two cores, OpenBLAS, processor time of a question about a new image, all at once against
these (`benchmarks/image_reuse.py`): LLaVA's five crops 421 and 352 ms, Phi's three 1,690 and
1,550, SmolVLM's 17 tiles 4,230 and 3,670. 128 and 512 tokens were no faster."""


def small_pieces(family: MlxFamily) -> tuple[CleanupStrategy, ...]:
    """What bounds the pieces on a CPU, for a family whose encoder is known; nothing on a GPU.

    A GPU has launches to save, and a CPU has caches: scores of attention that fit into them
    are done sooner, and of those that the causal mask hides a small step computes fewer.
    Other models keep mlx-vlm's step: some let an image's tokens look ahead.
    """
    return () if on_gpu() or family.tower is None else _SMALL
