"""Where SmolVLM's and Idefics3's patches lie in their tile, to the patch.

mlx-vlm 0.7.10 finds a patch's row by putting float32 fractions into buckets, and i/27 falls
on the wrong side of a boundary (models/idefics3/vision.py, `VisionEmbeddings`): ten of the 27
rows and columns of SmolVLM-Instruct's tiles get their neighbour's embedding (docs/upstream.md).
A tile that is full of patches needs no buckets.
"""

from __future__ import annotations

from typing import Any

from vqa_engine_adapters.families.family import Config


def exact(model: Any, _processor: Any, _settings: Config) -> None:
    """Have a loaded model number the patches of a full tile one after the other."""
    import mlx.core as mx
    from mlx_vlm.models.idefics3.vision import VisionEmbeddings

    class Exact(VisionEmbeddings):  # type: ignore[misc]  # mlx-vlm has no types
        def __call__(self, x: Any, patch_attention_mask: Any = None) -> Any:
            return super().__call__(
                x, None if self._full(patch_attention_mask) else patch_attention_mask
            )

        def _full(self, mask: Any) -> bool:
            side = self.num_patches_per_side
            return mask is not None and mask.shape[1:3] == (side, side) and bool(mx.all(mask))

    model.vision_model.embeddings.__class__ = Exact
