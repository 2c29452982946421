"""Any other model that mlx-vlm can load, named with `--model`."""

from __future__ import annotations

from attrs import evolve

from vqa_engine.adapter import MemoryProfile
from vqa_engine.memory.strategies import CacheLimit, PrefillStep
from vqa_engine_adapters.checkpoints.family import Family
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

STRATEGIES = (CacheLimit(512 * 2**20), PrefillStep(512))
"""Bounds that suit models of any size; nothing is known of this one beforehand."""


class MlxVlm(MlxAdapter):
    """A model of any family; it has no default, so `--model` is needed.

    One of a family that has an adapter of its own is run by that family's rules.
    """

    family = Family(
        adapter="mlx_vlm",
        model=None,
        instruction="\nAnswer the question using a single word or phrase.",
        stop=("<end_of_utterance>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"),
        relatives=tuple(
            evolve(adapter.family, adapter="mlx_vlm")
            for adapter in (LlavaMlx, Phi35Vision, SmolVlm)
        ),
        strategies=STRATEGIES,
        estimate=MemoryProfile(backend="mlx", strategies=STRATEGIES),
    )
