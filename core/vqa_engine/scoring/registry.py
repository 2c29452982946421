"""Metrics and aggregates by name, from whatever package offers them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from vqa_engine.adapter import Question
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.scoring.apart import ApartFigures, ApartMetric
from vqa_engine.scoring.extraction import Extractor, extractor
from vqa_engine.scoring.figures import Figures, PairedFigures, SetFigures
from vqa_engine.scoring.making import MetricLike, aggregate_of, as_metric, metric_of
from vqa_engine.scoring.metric import Ahead, Grade, Metric, grade_ahead


def metric(wanted: MetricLike, *, default: bool = False) -> Metric:
    """The metric of this name, or this object as a metric.

    With `default` nobody asked for it by name: of two packages that offer it, ours is taken.

    Raises:
        ConfigurationError: there is none (the text lists those that there are), two
            packages offer it, its import failed, or it does not fit `Metric`.
    """
    if not isinstance(wanted, str):
        return as_metric(wanted)
    take, _, rest = wanted.rpartition(">")
    name, *more = rest.split("+")
    made = _named(name, default)
    checked = tuple(figures(one, default=default) for one in more)
    if take:
        made = _Taking(made, take, extractor(take))
    return _WithAggregates(made, tuple(more), checked) if more else made


def _named(name: str, default: bool) -> Metric:
    plugin = plugins.select(plugins.METRICS, name, default=default)
    if not plugin.is_foreign:
        return metric_of(plugin, name)
    return ApartMetric.of(plugin)


def metrics(
    wanted: MetricLike | Iterable[MetricLike], *, default: bool = False
) -> tuple[Metric, ...]:
    """Several metrics, each once; a single one needs no list. `default` is that of `metric`."""
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        wanted = (wanted,)
    made = {one.name: one for one in (metric(each, default=default) for each in wanted)}
    return tuple(made.values())


def written(made: Metric) -> str:
    """What `metric` makes this one of, its further aggregates included; its name at least."""
    more = made.more if isinstance(made, _WithAggregates) else ()
    return "+".join((made.name, *more))


def figures(wanted: str, *, paired: bool = False, default: bool = False) -> Figures:
    """The figures of the aggregate of this name, of one set of answers or of a pair.

    `default` is that of `metric`.

    Raises:
        ConfigurationError: as `aggregate` does.
    """
    plugin = plugins.select(plugins.AGGREGATES, wanted.partition(":")[0], default=default)
    if plugin.is_foreign:
        return ApartFigures.of(plugin, wanted, paired=paired)
    made = aggregate_of(plugin, wanted)
    return PairedFigures(made) if paired else SetFigures(made)


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

    more: tuple[str, ...]
    _checked: tuple[Figures, ...] = field(eq=False, repr=False)

    @property
    def aggregates(self) -> tuple[str, ...]:
        return (*self._of.aggregates, *self.more)


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
