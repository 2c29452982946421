"""Any other model that mlx-vlm can load, named with `--model`."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.adapter import MemoryProfile
from vqa_engine.memory.strategies import CacheLimit
from vqa_engine_adapters.families.family import STOP_TEXTS, WORD_OR_PHRASE
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

STRATEGIES = (CacheLimit(512 * 2**20),)
"""A bound that suits models of any size; nothing is known of this one beforehand."""


class MlxVlm(MlxAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules.
    """

    family = MlxFamily(
        adapter="mlx_vlm",
        model=None,
        relatives=tuple(
            evolve(adapter.family, adapter="mlx_vlm")
            for adapter in (LlavaMlx, Phi35Vision, SmolVlm)
        ),
        estimate=MemoryProfile(backend="mlx", strategies=STRATEGIES),
        instruction=WORD_OR_PHRASE,
        stop=STOP_TEXTS,
    )
