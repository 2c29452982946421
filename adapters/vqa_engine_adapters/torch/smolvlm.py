"""SmolVLM and SmolVLM2 on torch, and the Idefics3 models that they descend from."""

from __future__ import annotations

from vqa_engine_adapters.families.smolvlm import SMOLVLM
from vqa_engine_adapters.torch.device import on_torch
from vqa_engine_adapters.torch.driver import TorchAdapter


class SmolVlmTorch(TorchAdapter):
    """SmolVLM on torch; the default is SmolVLM2 with half a billion parameters."""

    family = on_torch(SMOLVLM, adapter="smolvlm_torch")
