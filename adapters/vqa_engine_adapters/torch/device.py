"""Where a model runs and in what precision, unless the caller says."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from vqa_engine.adapter import BUILTIN, LEVERS, CleanupStrategy, Lever
from vqa_engine.errors import ConfigurationError
from vqa_engine.memory.strategies import OnPressure, RecycleWorker
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.torch.memory import preferred

SLOPE = float(2**20)
"""Bytes per question of growth outside the allocator that are worth a fresh process. MPSGraph
keeps something for each new shape and gives nothing back (docs/facts/memory.md, "PyTorch")."""

STEPWISE: frozenset[Lever] = LEVERS - {"kv_bits"}
"""What a plain model obeys: transformers' quantised caches need a package of their own."""

WHOLE: frozenset[Lever] = frozenset({"image_longest_edge"})
"""What a model obeys that goes through `generate` as a whole."""


def on_torch(family: Family, adapter: str) -> Family:
    """The family as the adapter of this entry-point name runs it."""
    estimate = evolve(family.estimate, backend="torch", levers=STEPWISE)
    return evolve(family, adapter=adapter, generic="transformers", estimate=estimate)


def strategies(device: str) -> tuple[CleanupStrategy, ...]:
    """What keeps memory in bounds on this kind of device.

    The CPU has no pool to clear, and its C library keeps freed pages: a slope of the
    process says nothing there.
    """
    if device == "cuda":
        return (OnPressure(),)
    if device == "mps":
        return (OnPressure(), RecycleWorker(slope=SLOPE))
    return ()


def choose_device(torch: Any, asked: str | None) -> Any:
    """The device asked for, or CUDA before MPS before the CPU.

    Raises:
        ConfigurationError: there is no such device here.
    """
    if asked is None:
        return torch.device(preferred(torch))
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"torch cannot use the device {asked!r}: {reason}") from error
    return device


def choose_dtype(torch: Any, device: Any, model: str | None, asked: str | None) -> Any:
    """The precision asked for, or what the device is quick at.

    Halves are slow or missing on CPUs, so float32 there. The embedded checkpoint is small
    and keeps the float32 that it was trained in. bfloat16 needs CUDA's compute capability
    8.0; float16 is what every Apple GPU has.
    """
    if asked is not None:
        return getattr(torch, asked)
    if device.type == "cpu" or model == BUILTIN:
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def synchronise(device: Any) -> None:
    """Wait for the device; an error of what it was still computing is raised here."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
