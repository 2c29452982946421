"""The embedded model: a small VLM of the SmolVLM family that answers the `shapes` questions.

`CHECKPOINT` is a folder in the hub's layout; mlx-vlm and transformers both load it. The README
beside it has the figures; `tools/train_builtin` in the repository trained it.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The shipped checkpoint's folder."""

__all__ = ["CHECKPOINT"]
