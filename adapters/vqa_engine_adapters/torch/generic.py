"""Any other image-text-to-text model that transformers knows, named with `--model`."""

from __future__ import annotations

from attrs import evolve

from vqa_engine_adapters.families.family import LONGEST_EDGE, STOP_TEXTS, WORD_OR_PHRASE, Family
from vqa_engine_adapters.families.further import RULES
from vqa_engine_adapters.torch.device import on_torch
from vqa_engine_adapters.torch.driver import TorchAdapter
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

_ANY = Family(
    adapter="transformers",
    model=None,
    instruction=WORD_OR_PHRASE,
    stop=STOP_TEXTS,
    longest_edge=LONGEST_EDGE,
)


class Transformers(TorchAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules. A picture is
    made no larger than `LONGEST_EDGE` unless the plan has a bound of its own.
    """

    family = evolve(
        on_torch(_ANY, adapter="transformers"),
        relatives=(
            *(evolve(one.family, adapter="transformers") for one in (LlavaTorch, SmolVlmTorch)),
            *(
                evolve(
                    on_torch(_ANY, adapter="transformers"),
                    model_types=rule.model_types,
                    images=rule.images,
                    image_tokens=rule.image_tokens,
                    sizes=rule.sizes,
                )
                for rule in RULES
            ),
        ),
    )
