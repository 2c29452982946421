"""Any other image-text-to-text model that transformers knows, named with `--model`."""

from __future__ import annotations

from attrs import evolve

from vqa_engine_adapters.families.family import STOP_TEXTS, WORD_OR_PHRASE, Family
from vqa_engine_adapters.torch.device import on_torch
from vqa_engine_adapters.torch.driver import TorchAdapter
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

_ANY = Family(adapter="transformers", model=None, instruction=WORD_OR_PHRASE, stop=STOP_TEXTS)


class Transformers(TorchAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules.
    """

    family = evolve(
        on_torch(_ANY, adapter="transformers"),
        relatives=tuple(
            evolve(adapter.family, adapter="transformers") for adapter in (LlavaTorch, SmolVlmTorch)
        ),
    )
