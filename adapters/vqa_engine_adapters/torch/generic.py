"""Any other image-text-to-text model that transformers knows, named with `--model`."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.adapter import MemoryProfile
from vqa_engine_adapters.checkpoints.family import Family
from vqa_engine_adapters.torch.device import STANDING, STEPWISE
from vqa_engine_adapters.torch.driver import TorchAdapter
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch


class Transformers(TorchAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules.
    """

    family = Family(
        adapter="transformers",
        model=None,
        instruction="\nAnswer the question using a single word or phrase.",
        stop=("<end_of_utterance>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"),
        relatives=tuple(
            evolve(adapter.family, adapter="transformers") for adapter in (LlavaTorch, SmolVlmTorch)
        ),
        strategies=STANDING,
        estimate=MemoryProfile(backend="torch", levers=STEPWISE, strategies=STANDING),
    )
