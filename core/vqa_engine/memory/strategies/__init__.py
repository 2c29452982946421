"""Cleanup strategies: what an adapter declares to keep its model's memory in bounds.

A strategy is data with one method: it binds itself to the backend's calls when the model
is loaded, and the governor runs what it bound. See docs/memory.md.
"""

from vqa_engine.adapter.strategy import (
    Bound,
    CleanupStrategy,
    Described,
    Moment,
)
from vqa_engine.memory.strategies.periodic import EveryQuestions
from vqa_engine.memory.strategies.pressure import OnPressure, Predictive
from vqa_engine.memory.strategies.recycling import RecycleWorker
from vqa_engine.memory.strategies.standing import CacheLimit, EncoderBatch, PrefillStep

__all__ = [
    "Bound",
    "CacheLimit",
    "CleanupStrategy",
    "Described",
    "EncoderBatch",
    "EveryQuestions",
    "Moment",
    "OnPressure",
    "Predictive",
    "PrefillStep",
    "RecycleWorker",
]
