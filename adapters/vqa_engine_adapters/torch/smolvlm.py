"""SmolVLM and SmolVLM2 on torch, and the Idefics3 models that they descend from."""

from __future__ import annotations

from attrs import evolve

from vqa_engine_adapters.mlx.smolvlm import SmolVlm
from vqa_engine_adapters.torch.device import STANDING, STEPWISE
from vqa_engine_adapters.torch.driver import TorchAdapter


class SmolVlmTorch(TorchAdapter):
    """SmolVLM on torch; the default is SmolVLM2 with half a billion parameters."""

    family = evolve(
        SmolVlm.family,
        adapter="smolvlm_torch",
        model="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        strategies=STANDING,
        estimate=evolve(
            SmolVlm.family.estimate, backend="torch", levers=STEPWISE, strategies=STANDING
        ),
    )
