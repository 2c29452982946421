"""`smolvlm_torch` with a fault or another strategy, for workers to load."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from vqa_engine.adapter import MemoryProfile, ModelRef
from vqa_engine.memory.strategies import RecycleWorker
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch


class Starved(SmolVlmTorch):
    """The allocator really refuses, until the plan is a cheaper one."""

    def _generate(self, loaded: Any, question: Any, plan: Any) -> Any:
        import torch

        torch.set_num_threads(1)
        if plan.rung == 0:
            torch.empty(10**16)
        return super()._generate(loaded, question, plan)


class Recycled(SmolVlmTorch):
    """A fresh process every two questions."""

    def memory_profile(self) -> MemoryProfile:
        profile = super().memory_profile()
        return evolve(profile, strategies=(*profile.strategies, RecycleWorker(after=2)))


class Unreadable(SmolVlmTorch):
    """Its weights must not be asked for."""

    def load(self, model: ModelRef) -> None:
        raise AssertionError("it was loaded")
