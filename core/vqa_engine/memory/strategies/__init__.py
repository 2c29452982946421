"""Cleanup strategies: what an adapter declares to keep its model's memory in bounds.

A strategy is data with one method: it binds itself to the backend's calls when the model
is loaded, and the governor runs what it bound. See docs/memory.md.

Other packages add strategies by an entry point in the group
`vqa_engine.cleanup_strategies`: its object is the class.
"""

import inspect

from vqa_engine import plugins
from vqa_engine.errors import ConfigurationError
from vqa_engine.memory.strategies.base import (
    Bound,
    CleanupStrategy,
    Described,
    Moment,
    describe,
    portable,
    restore,
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
    "describe",
    "portable",
    "restore",
    "strategy",
]


def strategy(name: str) -> type[CleanupStrategy]:
    """The strategy class of this entry-point name, from whatever package offers it.

    Raises:
        ConfigurationError: there is none, two packages offer it, its import failed, or it
            is no subclass of `CleanupStrategy`.
    """
    found = plugins.load(plugins.CLEANUP_STRATEGIES, name)
    if not (inspect.isclass(found) and issubclass(found, CleanupStrategy)):
        raise ConfigurationError(
            f"The cleanup strategy {name!r} is {found!r}, no subclass of CleanupStrategy. "
            "Its author has to change that."
        )
    return found
