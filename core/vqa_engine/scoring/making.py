"""Metrics and aggregates made in this process, whatever package offers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vqa_engine.adapter import Question
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.scoring.aggregate import Aggregate
from vqa_engine.scoring.metric import FunctionMetric, Grade, Metric, StringMetric, StringRule

MetricLike = str | Metric | StringMetric | Callable[[str, Question], Grade | float]
"""A name, an object, or a function.

A name may have a rule for the part of an answer that counts in front, and aggregates behind:
`after:Answer:>exact+macro:subject`."""


def metric_here(name: str) -> Metric:
    """The metric of a name alone, with its code in this process: for the tests of its author.

    Raises:
        ConfigurationError: as `metric` does.
    """
    return metric_of(plugins.select(plugins.METRICS, name), name)


def metric_of(plugin: Plugin, name: str) -> Metric:
    """The metric of an entry point, which has its name."""
    made = as_metric(plugins.make(plugins.METRICS, plugin, object), name)
    if not plugins.same(made.name, name):
        raise ConfigurationError(
            f"The metric {name!r} calls itself {made.name!r}, and scores are stored under that "
            "name. Its author has to make the two the same."
        )
    return made


def aggregate(wanted: str) -> Aggregate:
    """The aggregate of this name, with its code in this process: for the tests of its author.

    What follows a colon is its argument.

    Raises:
        ConfigurationError: as `metric` does; also when it needs an argument and has none.
    """
    return aggregate_of(plugins.select(plugins.AGGREGATES, wanted.partition(":")[0]), wanted)


def aggregate_of(plugin: Plugin, wanted: str) -> Aggregate:
    """The aggregate of an entry point, with its argument behind a colon."""
    name, colon, argument = wanted.partition(":")
    factory = plugins.load(plugins.AGGREGATES, plugin)
    try:
        made = called(factory, argument) if colon else called(factory)
    except Exception as error:
        raise ConfigurationError(
            f"The aggregate {wanted!r} cannot be created: {plugins.reason(error)}. "
            "An argument follows a colon, as in macro:subject."
        ) from error
    if not isinstance(made, Aggregate):
        raise _misfit("aggregate", name, made)
    return made


def as_metric(given: Any, name: str | None = None) -> Metric:
    """An object or a function as a metric.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, StringMetric):
        return StringRule(
            name=given.name,
            version=getattr(given, "version", 1),
            decimals=getattr(given, "decimals", None),
            score=given.score,
        )
    if callable(given) and not isinstance(given, type):
        own = getattr(given, "__name__", type(given).__name__)
        return FunctionMetric(name=own, function=given)
    raise _misfit("metric", name or repr(given), given)


def _misfit(kind: str, name: str, given: object) -> ConfigurationError:
    return ConfigurationError(
        f"The {kind} {name!r} returns {type(given).__name__}, which does not implement "
        f"{kind.title()}. Report this to the authors of its package."
    )
