"""Where the patches of a tile lie, for encoders of every size of grid."""

from __future__ import annotations

from typing import Any

import pytest

from vqa_engine_adapters.mlx.positions import exact


def positions(side: int) -> list[int]:
    """The position of each patch of a full tile of `side` patches a side."""
    import mlx.core as mx
    from mlx_vlm.models.idefics3.vision import VisionConfig, VisionEmbeddings

    embeddings: Any = VisionEmbeddings(
        VisionConfig(
            model_type="idefics3",
            hidden_size=1,
            num_attention_heads=1,
            image_size=side,
            patch_size=1,
            num_channels=1,
        )
    )
    embeddings.patch_embedding.weight = mx.zeros_like(embeddings.patch_embedding.weight)
    embeddings.patch_embedding.bias = mx.zeros((1,))
    embeddings.position_embedding.weight = mx.arange(side**2, dtype=mx.float32)[:, None]
    model = type("Model", (), {})()
    model.vision_model = type("Vision", (), {"embeddings": embeddings})()
    exact(model, None, {})
    mask = mx.ones((1, side, side), dtype=mx.bool_)
    found = embeddings(mx.zeros((1, side, side, 1)), mask)
    return [int(place) for place in found[0, :, 0].tolist()]


@pytest.mark.parametrize("side", [8, 24, 26, 27, 28, 32, 70])
def test_patches_are_numbered_in_order(side: int) -> None:
    assert positions(side) == list(range(side**2))
