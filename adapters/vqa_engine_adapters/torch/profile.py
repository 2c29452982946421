"""A checkpoint's memory profile on torch, before it is loaded and after."""

from __future__ import annotations

import sys
from typing import Any

from attrs import evolve

from vqa_engine.adapter import BUILTIN, MemoryProfile, ModelRef
from vqa_engine_adapters.checkpoints.checkpoint import Description
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.checkpoints.profile import levers
from vqa_engine_adapters.checkpoints.profile import profile as stored_profile
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.torch.device import STEPWISE, WHOLE, strategies
from vqa_engine_adapters.torch.loading import PLAIN, Loaded
from vqa_engine_adapters.torch.memory import preferred
from vqa_engine_adapters.torch.options import Options

WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}


def expected(
    family: Family, checkpoint: Description, model: ModelRef, options: Options
) -> MemoryProfile:
    """What the checkpoint will need: exact as soon as the precision is known.

    That depends on the device, which nobody knows before torch is imported unless the
    options say it. Until then the figures are those of the precision it is stored in.
    """
    plain = checkpoint.config.get("model_type") in PLAIN
    profile = stored_profile(family, checkpoint)
    profile = evolve(
        profile,
        backend="torch",
        device=options.device,
        levers=levers(STEPWISE if plain else WHOLE, profile.image_tokens),
        exact=False,
    )
    width = _loaded_width(model, options, sys.modules.get("torch"))
    if width is None:
        return profile
    numbers = sum(tensor.nbytes // (tensor.itemsize or 1) for tensor in checkpoint.tensors.values())
    return evolve(_in_width(profile, checkpoint, width), weights=numbers * width, exact=True)


def as_loaded(family: Family, loaded: Loaded) -> MemoryProfile:
    """What the loaded model needs: weights as they lie there, KV in the model's precision."""
    plain, profile = loaded.steps is not None, stored_profile(family, loaded.checkpoint)
    return evolve(
        _in_width(profile, loaded.checkpoint, loaded.model.dtype.itemsize),
        backend="torch",
        device=str(loaded.device),
        weights=loaded.weights,
        levers=levers(STEPWISE if plain else WHOLE, profile.image_tokens),
        strategies=strategies(loaded.device.type),
        exact=True,
    )


def _in_width(profile: MemoryProfile, checkpoint: Description, width: int) -> MemoryProfile:
    """The figures of computation for numbers of another width than the stored ones."""
    names = ("kv_per_token", "attention_per_pair", "activations_per_token", "per_tile")
    given, stored = {name: getattr(profile, name) for name in names}, _width(checkpoint.tensors)
    return evolve(
        profile,
        **{name: size and size * width // stored for name, size in given.items()},
    )


def _loaded_width(model: ModelRef, options: Options, torch: Any) -> int | None:
    """Bytes per number once loaded, by the rules of `choose_dtype`; None if not known yet."""
    if options.quantization is not None:
        return None
    if options.dtype is not None:
        return WIDTHS[options.dtype]
    if model.model == BUILTIN:
        return WIDTHS["float32"]
    device = options.device or (torch and preferred(torch))
    return None if device is None else WIDTHS["float32" if device == "cpu" else "float16"]


def _width(tensors: dict[str, Tensor]) -> int:
    """Bytes per number of the stored language model; the commonest one among its tensors."""
    widths = [tensor.itemsize for tensor in tensors.values() if tensor.itemsize]
    return max(set(widths), key=widths.count, default=2)
