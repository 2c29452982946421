"""Any other model that mlx-vlm can load, named with `--model`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from vqa_engine.adapter import LEVERS, Lever, MemoryProfile
from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families.family import LONGEST_EDGE, STOP_TEXTS, WORD_OR_PHRASE, Config
from vqa_engine_adapters.families.further import RULES
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.gemma import as_trained
from vqa_engine_adapters.mlx.internvl import as_published
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.options import Options, Phi35Options
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

STRATEGIES = (CacheLimit(512 * 2**20),)
"""A bound that suits models of any size; nothing is known of this one beforehand."""


_MEND: dict[tuple[str, ...], Callable[[Any, Any, Config], None]] = {
    ("internvl_chat", "internvl"): as_published,
    ("gemma3",): as_trained,
}

_LEVERS: dict[tuple[str, ...], frozenset[Lever]] = {
    # A step that ended inside an image would hide one part of it from the other.
    ("gemma3",): LEVERS - {"prefill_step"},
}

_ANY = MlxFamily(
    adapter="mlx_vlm",
    model=None,
    estimate=MemoryProfile(backend="mlx", strategies=STRATEGIES),
    options=Phi35Options,
    longest_edge=LONGEST_EDGE,
    instruction=WORD_OR_PHRASE,
    stop=STOP_TEXTS,
)


class MlxVlm(MlxAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules. A picture is
    made no larger than `LONGEST_EDGE` unless the plan has a bound of its own.
    """

    family = evolve(
        _ANY,
        relatives=(
            *(evolve(one.family, adapter="mlx_vlm") for one in (LlavaMlx, Phi35Vision, SmolVlm)),
            *(
                evolve(
                    _ANY,
                    options=Options,
                    model_types=rule.model_types,
                    images=rule.images,
                    image_tokens=rule.image_tokens,
                    sizes=rule.sizes,
                    estimate=evolve(_ANY.estimate, levers=_LEVERS.get(rule.model_types, LEVERS)),
                    mend=_MEND.get(rule.model_types),
                )
                for rule in RULES
            ),
        ),
    )
