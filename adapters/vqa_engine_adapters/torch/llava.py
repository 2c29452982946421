"""LLaVA 1.5 (`llava`) and 1.6 (`llava_next`) on torch."""

from __future__ import annotations

from vqa_engine_adapters.families.llava import LLAVA
from vqa_engine_adapters.torch.device import on_torch
from vqa_engine_adapters.torch.driver import TorchAdapter


class LlavaTorch(TorchAdapter):
    """LLaVA on torch; the default is LLaVA 1.6 on Mistral-7B, 15 GB in halves."""

    family = on_torch(LLAVA, adapter="llava_torch")
