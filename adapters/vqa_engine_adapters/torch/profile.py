"""A checkpoint's memory profile on torch, before it is loaded and after."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.adapter import MemoryProfile
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint
from vqa_engine_adapters.checkpoints.family import Family
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.checkpoints.profile import profile as stored_profile
from vqa_engine_adapters.torch.device import strategies
from vqa_engine_adapters.torch.loading import Loaded


def stored(family: Family, checkpoint: Checkpoint) -> MemoryProfile:
    """What the checkpoint needs in the precision it is stored in.

    Not exact: the precision that it is loaded in depends on the device, which nobody
    knows before torch is imported.
    """
    return evolve(stored_profile(family, checkpoint), backend="torch", exact=False)


def as_loaded(family: Family, loaded: Loaded) -> MemoryProfile:
    """What the loaded model needs: weights as they lie there, KV in the model's precision."""
    profile = stored(family, loaded.checkpoint)
    kv, width = profile.kv_per_token, _width(loaded.checkpoint.tensors)
    return evolve(
        profile,
        weights=loaded.weights,
        kv_per_token=None if kv is None else kv * loaded.model.dtype.itemsize // width,
        strategies=strategies(loaded.device.type),
        exact=True,
    )


def _width(tensors: dict[str, Tensor]) -> int:
    """Bytes per number of the stored language model; the commonest one among its tensors."""
    widths = [tensor.itemsize for tensor in tensors.values() if tensor.itemsize]
    return max(set(widths), key=widths.count, default=2)
