"""Adapters that run on MLX through mlx-vlm: one driver, one small module per model."""
