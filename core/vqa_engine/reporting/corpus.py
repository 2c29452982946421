"""A report's rows: one pass over the journals, into columns that keep each value once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from attrs import define, field

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.reporting.coded import Column, Lists, significant
from vqa_engine.reporting.runs import Run
from vqa_engine.reporting.scored import Scorer
from vqa_engine.results import Attempt, Failure, Row
from vqa_engine.runs import stored
from vqa_engine.runs.journal import Tally
from vqa_engine.scoring import Metric, ScoreTable
from vqa_engine.scoring.cluster import cluster_of

RIGHT = 0.5
"""An answer counts as right from this score on, where an answer is either right or wrong."""

MOST_DETAIL = 4_000
"""Characters of a failure's detail that are kept, its last ones."""

ALL_DETAIL = 4_000_000
"""Characters of details in one report; later failures keep their message."""

_EXACT = 1 << 53
"""JavaScript's integers are exact below it."""

FIGURES = (
    "prompt_tokens",
    "image_tokens",
    "reused_tokens",
    "completion_tokens",
    "prepare",
    "prefill",
    "decode",
    "active",
    "peak",
    "footprint",
    "expected",
    "bound",
)
"""Columns of tokens, milliseconds and bytes; all but the tokens have three digits."""

TEXTS = ("answer", "finish", "plan", "cause", "message", "detail", "attempts")

_json = msgspec.json.Encoder().encode


@define
class Contender:
    """One adapter of one run: a column for each fact of its rows."""

    label: str
    run: Run
    adapter: str
    metrics: tuple[str, ...]
    columns: dict[str, Column]
    tables: tuple[ScoreTable, ...] = ()
    tally: Tally = field(factory=Tally)
    seconds: float = 0.0
    """Wall time of all questions together."""

    def scores(self, metric: int = 0) -> Column:
        """The scores in one metric, 0..1, None for what was not scored."""
        return self.columns[f"score.{self.metrics[metric]}"]

    @property
    def pace(self) -> float | None:
        """Questions a second."""
        return self.tally.done / self.seconds if self.seconds else None


@define
class Corpus:
    """All questions of the runs, and what each contender made of them.

    A question has the same place in every column. Contenders that were asked other
    questions have None there.
    """

    contenders: list[Contender] = field(factory=list)
    places: dict[stored.Key, int] = field(factory=dict)
    ids: Column = field(factory=Column)
    texts: Column = field(factory=Column)
    pictures: Column = field(factory=Column)
    types: Column = field(factory=Column)
    answer_types: Column = field(factory=Column)
    choices: Column = field(factory=Column)
    images: Column = field(factory=Column)
    """How many further images a question has; None for the usual one."""
    truths: Lists = field(factory=Lists)
    clusters: Column = field(factory=Column)
    """What is not independent (`vqa_engine.scoring.cluster`); the page does without."""
    details_left: int = ALL_DETAIL

    def __len__(self) -> int:
        return len(self.places)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, the first is the headline's."""
        return self.contenders[0].metrics if self.contenders else ()

    def columns(self) -> dict[str, Column]:
        """Every column, those of contender 1 under names that begin with `1.`."""
        own = {
            "id": self.ids,
            "text": self.texts,
            "picture": self.pictures,
            "type": self.types,
            "answer_type": self.answer_types,
            "choices": self.choices,
            "images": self.images,
            **self.truths.columns("truths"),
        }
        for number, contender in enumerate(self.contenders):
            own |= {f"{number}.{name}": column for name, column in contender.columns.items()}
        return own


Picture = Callable[[Question], str | None]
"""What names the picture of a question; None for one that cannot be shown."""


def collect(runs: Sequence[Run], metrics: Sequence[Metric], picture: Picture) -> Corpus:
    """Read every row of the runs once.

    Raises:
        JournalError: a journal cannot be read.
        ConfigurationError: the runs ask different questions under one id.
    """
    corpus = Corpus()
    several = Counter(label for run in runs for label in run.labels)
    for run in runs:
        for adapter in run.labels:
            label = adapter if several[adapter] == 1 else f"{adapter} ({run.name})"
            corpus.contenders.append(_contender(label, run, adapter, metrics))
            _read(corpus, corpus.contenders[-1], Scorer(metrics), picture)
    for column in corpus.columns().values():
        column.reach(len(corpus))
    return corpus


def _contender(label: str, run: Run, adapter: str, metrics: Sequence[Metric]) -> Contender:
    names = tuple(metric.name for metric in metrics)
    scores = (f"score.{name}" for name in names)
    columns = {name: Column() for name in (*TEXTS, *FIGURES, "degraded", "seconds", *scores)}
    return Contender(label=label, run=run, adapter=adapter, metrics=names, columns=columns)


def _read(corpus: Corpus, contender: Contender, scorer: Scorer, picture: Picture) -> None:
    """Add the contender's rows to its columns, and their questions to the corpus."""
    run = contender.run
    for row in run.journal.rows(contender.adapter):
        place = _place(corpus, row.question, picture)
        for name, given in scorer.add(row):
            contender.columns[f"score.{name}"].put(place, given)
        _add(contender, place, row, corpus)
    contender.tables = scorer.tables()
    total = run.manifest.question_count if run.manifest else None
    contender.tally = run.journal.tally(contender.adapter, total)


def _place(corpus: Corpus, question: Question, picture: Picture) -> int:
    key = stored.key(question.question_id)
    place = corpus.places.setdefault(key, len(corpus.places))
    if place < len(corpus.ids.codes):
        if corpus.texts.at(place) != question.text:
            raise ConfigurationError(
                f"The runs ask different questions under the id {question.question_id!r}, so "
                "they cannot be compared. Report them one by one."
            )
        return place
    shown = question.question_id
    corpus.ids.put(place, shown if isinstance(shown, str) or abs(shown) < _EXACT else str(shown))
    corpus.texts.put(place, question.text)
    corpus.clusters.put(place, cluster_of(question))
    corpus.pictures.put(place, picture(question))
    corpus.types.put(place, question.question_type)
    corpus.answer_types.put(place, question.answer_type)
    corpus.choices.put(place, _text(question.choices) if question.choices else None)
    corpus.images.put(place, len(question.images) or None)
    corpus.truths.append(place, dict(Counter(_truths(question)).most_common()))
    return place


def _truths(question: Question) -> tuple[str, ...]:
    """The ground truths, or the right choice where that is all there is."""
    if question.answers or question.right is None:
        return question.answers
    return (question.choices[question.right],)


def _add(contender: Contender, place: int, row: Row, corpus: Corpus) -> None:
    columns = contender.columns
    columns["seconds"].put(place, significant(row.seconds * 1000))
    contender.seconds += row.seconds
    if row.degraded:
        columns["degraded"].put(place, True)
    if row.attempts:
        columns["attempts"].put(place, _text([_attempt(one) for one in row.attempts]))
    if row.prediction is not None:
        columns["expected"].put(place, significant(row.prediction.expected))
        columns["bound"].put(place, significant(row.prediction.bound))
    if row.answer is not None:
        _add_answer(columns, place, row.answer)
    if row.failure is not None:
        _add_failure(columns, place, row.failure, corpus)


def _add_answer(columns: dict[str, Column], place: int, answer: Answer) -> None:
    columns["answer"].put(place, answer.text)
    columns["finish"].put(place, answer.finish_reason)
    columns["plan"].put(place, _plan(answer.plan))
    if answer.tokens is not None:
        columns["prompt_tokens"].put(place, answer.tokens.prompt)
        columns["image_tokens"].put(place, answer.tokens.image)
        columns["reused_tokens"].put(place, answer.tokens.reused)
        columns["completion_tokens"].put(place, answer.tokens.completion)
    if answer.timings is not None:
        columns["prepare"].put(place, significant(answer.timings.prepare * 1000))
        columns["prefill"].put(place, significant(answer.timings.prefill * 1000))
        columns["decode"].put(place, significant(answer.timings.decode * 1000))
    if answer.memory is not None:
        columns["active"].put(place, significant(answer.memory.active))
        columns["peak"].put(place, significant(answer.memory.peak))
        columns["footprint"].put(place, significant(answer.memory.footprint))


def _add_failure(columns: dict[str, Column], place: int, failure: Failure, corpus: Corpus) -> None:
    columns["cause"].put(place, failure.cause)
    columns["message"].put(place, failure.message)
    if failure.attempts:
        columns["attempts"].put(place, _text([_attempt(one) for one in failure.attempts]))
    detail = failure.detail[-MOST_DETAIL:]
    if detail and len(detail) <= corpus.details_left:
        columns["detail"].put(place, detail)
        corpus.details_left -= len(detail)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "cause": attempt.cause,
        "message": attempt.message[:MOST_DETAIL],
        "plan": _plan(attempt.plan),
    }


@lru_cache(maxsize=1024)  # a run has a few plans
def _plan(plan: GenerationPlan) -> str:
    """A plan in words, without what it leaves to the model."""
    facts = msgspec.to_builtins(plan).items()
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in facts if value is not None
    )


def _text(value: object) -> str:
    return _json(value).decode()
