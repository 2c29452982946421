"""Metrics and aggregates by name, from whatever package offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.scoring.aggregate import Aggregate
from vqa_engine.scoring.extraction import Extractor, extractor
from vqa_engine.scoring.figures import Figures, PairedFigures, SetFigures
from vqa_engine.scoring.metric import (
    Ahead,
    FunctionMetric,
    Grade,
    Metric,
    StringMetric,
    StringRule,
    grade_ahead,
)

MetricLike = str | Metric | StringMetric | Callable[[str, Question], Grade | float]
"""A name, an object, or a function.

A name may have a rule for the part of an answer that counts in front, and aggregates behind:
`after:Answer:>exact+macro:subject`."""


def metric(wanted: MetricLike) -> Metric:
    """The metric of this name, or this object as a metric.

    Raises:
        ConfigurationError: there is none (the text lists those that there are), two
            packages offer it, its import failed, or it does not fit `Metric`.
    """
    if not isinstance(wanted, str):
        return _as_metric(wanted)
    take, _, rest = wanted.rpartition(">")
    name, *more = rest.split("+")
    made = _named(name)
    checked = tuple(map(figures, more))
    if take:
        made = _Taking(made, take, extractor(take))
    return _WithAggregates(made, (*made.aggregates, *more), checked) if more else made


def _named(name: str) -> Metric:
    plugin = plugins.select(plugins.METRICS, name)
    if not plugin.is_foreign:
        return _checked(plugin, name)
    from vqa_engine.scoring.apart import ApartMetric

    return ApartMetric.of(plugin)


def metric_here(name: str) -> Metric:
    """The metric of a name alone, with its code in this process: for the tests of its author.

    Raises:
        ConfigurationError: as `metric` does.
    """
    return _checked(plugins.select(plugins.METRICS, name), name)


def _checked(plugin: Plugin, name: str) -> Metric:
    made = _as_metric(plugins.make(plugins.METRICS, plugin, object), name)
    if not plugins.same(made.name, name):
        raise ConfigurationError(
            f"The metric {name!r} calls itself {made.name!r}, and scores are stored under that "
            "name. Its author has to make the two the same."
        )
    return made


def metrics(wanted: MetricLike | Iterable[MetricLike]) -> tuple[Metric, ...]:
    """Several metrics, each once; a single one needs no list."""
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        wanted = (wanted,)
    made = {one.name: one for one in map(metric, wanted)}
    return tuple(made.values())


def figures(wanted: str, *, paired: bool = False) -> Figures:
    """The figures of the aggregate of this name, of one set of answers or of a pair.

    Raises:
        ConfigurationError: as `aggregate` does.
    """
    plugin = plugins.select(plugins.AGGREGATES, wanted.partition(":")[0])
    if plugin.is_foreign:
        from vqa_engine.scoring.apart import ApartFigures

        return ApartFigures.of(plugin, wanted, paired=paired)
    made = _aggregate(plugin, wanted)
    return PairedFigures(made) if paired else SetFigures(made)


def aggregate(wanted: str) -> Aggregate:
    """The aggregate of this name, with its code in this process: for the tests of its author.

    What follows a colon is its argument.

    Raises:
        ConfigurationError: as `metric` does; also when it needs an argument and has none.
    """
    return _aggregate(plugins.select(plugins.AGGREGATES, wanted.partition(":")[0]), wanted)


def _aggregate(plugin: Plugin, wanted: str) -> Aggregate:
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


@frozen
class _Changed:
    """A base for metrics that differ from another in one thing."""

    _of: Metric

    @property
    def aggregates(self) -> tuple[str, ...]:
        return self._of.aggregates

    @property
    def name(self) -> str:
        return self._of.name

    @property
    def version(self) -> int:
        return self._of.version

    @property
    def decimals(self) -> int | None:
        return self._of.decimals

    @property
    def grade_ahead(self) -> Ahead | None:
        return grade_ahead(self._of)

    def grade(self, prediction: str, question: Question) -> Grade:
        return self._of.grade(prediction, question)


@frozen
class _WithAggregates(_Changed):
    """A metric with more aggregates than its own; it keeps the processes that were started."""

    _all: tuple[str, ...]
    _checked: tuple[Figures, ...] = field(eq=False, repr=False)

    @property
    def aggregates(self) -> tuple[str, ...]:
        return self._all


@frozen
class _Taking(_Changed):
    """A metric that grades a part of each answer."""

    _take: str
    _extract: Extractor

    @property
    def name(self) -> str:
        return f"{self._take}>{self._of.name}"

    @property
    def grade_ahead(self) -> Ahead | None:
        call, take = grade_ahead(self._of), self._extract
        return call and (lambda asked: call([(take(said), question) for said, question in asked]))

    def grade(self, prediction: str, question: Question) -> Grade:
        return self._of.grade(self._extract(prediction), question)


def _as_metric(given: Any, name: str | None = None) -> Metric:
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
