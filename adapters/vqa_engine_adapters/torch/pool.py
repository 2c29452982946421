"""Giving torch's pool back: after a batch that did not fit, and when a model is let go."""

from __future__ import annotations

import gc


def sweep() -> None:
    """Collect cycles that hold tensors, then give the pool back.

    Only a device that is there may be asked: `torch.mps.empty_cache` raises without one
    (docs/facts/memory.md, "PyTorch").
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
