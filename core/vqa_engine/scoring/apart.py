"""Metrics and aggregates of other packages, each in a process of its own.

The servants are made there, and the rest is what the engine has in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from time import monotonic

from attrs import define, field, frozen

from vqa_engine.adapter import Question
from vqa_engine.adapter.crossing import plain
from vqa_engine.errors import PluginError, ScoringError
from vqa_engine.plugins.entry_points import Plugin
from vqa_engine.questions.posed import Posed, to_score
from vqa_engine.scoring.figures import Figure, Figures, PairedFigures, SetFigures
from vqa_engine.scoring.making import aggregate, metric_here
from vqa_engine.scoring.metric import AT_ONCE, Grade, checked
from vqa_engine.worker.plugin import PluginProcess
from vqa_engine.worker.servant import brief

_SHARE = 0.5
"""Seconds after which a metric gives back the grades that it has."""

_MOST, _LONGEST = 10_000, 100
"""Figures of an aggregate, and characters of a name; nobody reads more."""


@frozen
class Facts:
    """What a metric says of itself."""

    name: str
    version: int
    decimals: int | None
    aggregates: tuple[str, ...]


@frozen
class Outcome:
    """A grade, or why there is none; without either there was nothing to compare with."""

    grade: Grade | None = None
    failure: str = ""


class Grader:
    """A metric's servant."""

    def __init__(self, name: str) -> None:
        self._metric = metric_here(name)

    def facts(self) -> Facts:
        """What the metric says of itself."""
        one = self._metric
        return Facts(one.name, one.version, one.decimals, tuple(one.aggregates))

    def grades(self, asked: tuple[tuple[str, Posed], ...]) -> tuple[Outcome, ...]:
        """The outcomes of the first of these, of one at least."""
        until, found = monotonic() + _SHARE, list[Outcome]()
        for prediction, posed in asked:
            found.append(self._outcome(prediction, posed))
            if monotonic() >= until:
                break
        return tuple(found)

    def _outcome(self, prediction: str, posed: Posed) -> Outcome:
        try:
            return Outcome(plain(Grade, checked(self._metric.grade(prediction, posed.question()))))
        except ScoringError:
            return Outcome()
        except Exception as error:  # noqa: BLE001  another package's code raises anything
            return Outcome(failure=brief(error))


@define(eq=False)
class ApartMetric:
    """A metric whose code runs in another process.

    Raises:
        ConfigurationError: it cannot be used.
    """

    _process: PluginProcess[Grader]
    name: str
    version: int
    decimals: int | None
    aggregates: tuple[str, ...]
    _ahead: dict[tuple[int, str], tuple[Question, Outcome]] = field(factory=dict, init=False)

    @classmethod
    def of(cls, plugin: Plugin) -> ApartMetric:
        """The metric of an entry point."""
        process = PluginProcess.of(Grader, plugin, plugin.name)
        facts = process.call(Grader.facts)
        return cls(process, facts.name, facts.version, facts.decimals, facts.aggregates)

    def grade_ahead(self, asked: Sequence[tuple[str, Question]]) -> None:
        """Have these graded in one crossing; `grade` then knows them."""
        self._ahead = ahead = {}
        rest = [(prediction, to_score(question)) for prediction, question in asked]
        try:
            while rest:
                found = self._graded(rest)
                for (prediction, question), outcome in zip(asked, found, strict=False):
                    # the question lives as long as its id is a key
                    ahead[id(question), prediction] = question, outcome
                rest, asked = rest[len(found) :], asked[len(found) :]
        except PluginError:
            return  # it is raised again for the first question without a grade

    def grade(self, prediction: str, question: Question) -> Grade:
        """As `Metric.grade`.

        Raises:
            PluginError: the metric raised something, or its process is gone.
        """
        known = self._ahead.get((id(question), prediction))
        outcome = known[1] if known else self._graded([(prediction, to_score(question))])[0]
        if outcome.failure:
            raise PluginError(outcome.failure)
        if outcome.grade is None:
            raise ScoringError("The metric found nothing to compare with.")
        return outcome.grade

    def _graded(self, asked: Sequence[tuple[str, Posed]]) -> tuple[Outcome, ...]:
        found = self._process.call(Grader.grades, tuple(asked))
        if not 1 <= len(found) <= len(asked):
            raise PluginError(f"it gave {len(found)} grades for {len(asked)} answers")
        return found


Graded = tuple[Posed, tuple[Grade, ...]]


class Tallier:
    """An aggregate's servant; `key` names one of the collections that it makes figures of."""

    def __init__(self, wanted: str) -> None:
        self._aggregate = aggregate(wanted)
        self._all: dict[int, Figures] = {}

    def compared(self) -> bool:
        """As `Aggregate.compared`."""
        return bool(self._aggregate.compared)

    def add(self, key: int, paired: bool, graded: tuple[Graded, ...]) -> None:
        """Add graded questions to a collection, a new one where it is not known."""
        kind = PairedFigures if paired else SetFigures
        figures = self._all.setdefault(key, kind(self._aggregate))
        for posed, grades in graded:
            figures.add(posed.question(), *grades)

    def figures(self, key: int) -> dict[str, Figure]:
        """The figures of a collection."""
        return self._all[key].snapshot() if key in self._all else {}


@define(eq=False)
class ApartFigures:
    """The figures of an aggregate whose code runs in another process."""

    compared: bool
    _process: PluginProcess[Tallier]
    _paired: bool
    _key: int = field(factory=count().__next__, init=False)
    _held: list[Graded] = field(factory=list, init=False)

    @classmethod
    def of(cls, plugin: Plugin, wanted: str, *, paired: bool) -> ApartFigures:
        """Those of an entry point's aggregate, with what it is called and its argument.

        Raises:
            ConfigurationError: it cannot be used.
        """
        process = PluginProcess.of(Tallier, plugin, wanted)
        return cls(process.call(Tallier.compared), process, paired)

    def add(self, question: Question, *grades: Grade) -> None:
        """As `Figures.add`; an error may come later."""
        self._held.append((to_score(question), grades))
        if len(self._held) >= AT_ONCE:
            self._send()

    def snapshot(self) -> dict[str, Figure]:
        """As `Figures.snapshot`."""
        if self._held:
            self._send()
        found = self._process.call_whole(Tallier.figures, self._key)
        if len(found) > _MOST:
            raise PluginError(f"it gave {len(found):,} figures")
        return {name[:_LONGEST]: figure for name, figure in found.items()}

    def _send(self) -> None:
        held, self._held = tuple(self._held), []
        self._process.call_whole(Tallier.add, self._key, self._paired, held)
