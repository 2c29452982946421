"""`smolvlm_torch` with a fault or another strategy, for workers to load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve

from vqa_engine.adapter import MemoryProfile, ModelRef
from vqa_engine.memory.strategies import RecycleWorker
from vqa_engine_adapters.torch.generic import Transformers
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch


class Starved(SmolVlmTorch):
    """The allocator really refuses, until the plan is a cheaper one."""

    def _generate(self, loaded: Any, asked: Any, plan: Any) -> Any:
        import torch

        torch.set_num_threads(1)
        if plan.rung == 0:
            torch.empty(10**16)
        return super()._generate(loaded, asked, plan)


class Cramped(SmolVlmTorch):
    """The allocator really refuses more than three rows at once."""

    def _generate(self, loaded: Any, asked: Any, plan: Any) -> Any:
        import torch

        if len(asked) > 3:
            torch.empty(10**16)
        return super()._generate(loaded, asked, plan)


class Unmasked(Transformers):
    """Its code forgets the mask, so a padded row sees its padding."""

    def _begin(self, loaded: Any, family: Any) -> None:
        generate = loaded.model.generate
        loaded.model.generate = lambda attention_mask, **rest: generate(**rest)
        super()._begin(loaded, family)


class Exhausted(SmolVlmTorch):
    """Takes all that the GPU's allocator may have, until the plan is a cheaper one."""

    def _generate(self, loaded: Any, asked: Any, plan: Any) -> Any:
        import torch

        if plan.rung > 0:
            return super()._generate(loaded, asked, plan)
        torch.cuda.set_per_process_memory_fraction(0.05)
        taken = []
        while True:
            taken.append(torch.empty(2**28, dtype=torch.uint8, device=loaded.device))


class Poisoned(SmolVlmTorch):
    """Loses the GPU's context once: the file that the environment names is then there."""

    def _generate(self, loaded: Any, asked: Any, plan: Any) -> Any:
        import torch

        told = Path(os.environ["VQA_ENGINE_TEST_POISONED"])
        if not told.exists():
            told.touch()
            torch.zeros(2, device=loaded.device)[torch.tensor([7], device=loaded.device)]
        return super()._generate(loaded, asked, plan)


class Recycled(SmolVlmTorch):
    """A fresh process every two questions."""

    def memory_profile(self) -> MemoryProfile:
        profile = super().memory_profile()
        return evolve(profile, strategies=(*profile.strategies, RecycleWorker(after=2)))


class Unreadable(SmolVlmTorch):
    """Its weights must not be asked for."""

    def load(self, model: ModelRef) -> None:
        raise AssertionError("it was loaded")
