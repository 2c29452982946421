"""What MLX computes on."""

from __future__ import annotations


def on_gpu() -> bool:
    """Whether it is a GPU, Metal's or CUDA's."""
    import mlx.core as mx

    return mx.default_device().type == mx.DeviceType.gpu
