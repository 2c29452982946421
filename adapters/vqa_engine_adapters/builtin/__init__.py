"""The embedded model: a small VLM of the SmolVLM family that answers the `shapes` questions.

`CHECKPOINT` is a folder in the hub's layout; mlx-vlm and transformers both load it. It was
trained by `python -m vqa_engine_adapters.builtin.train`; the README beside it has the figures.
Nothing heavy is imported here.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The shipped checkpoint's folder."""

__all__ = ["CHECKPOINT"]
