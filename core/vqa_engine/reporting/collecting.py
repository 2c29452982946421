"""Reading journals into a corpus: every row once, and of a run that goes on only the new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from vqa_engine.adapter import Answer, GenerationPlan, Question
from vqa_engine.errors import ConfigurationError, JournalError
from vqa_engine.reporting.coded import Column, significant
from vqa_engine.reporting.corpus import Contender, Corpus
from vqa_engine.reporting.scored import Scorer
from vqa_engine.results import Attempt, Failure, Row
from vqa_engine.runs import stored
from vqa_engine.runs.database import READING, unusable
from vqa_engine.runs.journal import Tally
from vqa_engine.runs.opening import Run
from vqa_engine.scoring import Metric
from vqa_engine.scoring.cluster import cluster_of

_MOST_DETAIL = 4_000
"""Characters of a failure's detail that are kept, its last ones."""

_EXACT = 1 << 53
"""JavaScript's integers are exact below it."""

_json = msgspec.json.Encoder().encode

Parts = tuple[str, ...]

Picture = Callable[[Question], str | None]
"""What names the picture of a question; None for one that cannot be shown."""


def collect(runs: Sequence[Run], metrics: Sequence[Metric], picture: Picture) -> Corpus:
    """Every row of the runs.

    Raises:
        JournalError: a journal cannot be read.
        ConfigurationError: the runs ask different questions under one id.
    """
    return Collector(metrics, picture).read(runs)


class Collector:
    """Reads the same runs again and again, and each row once.

    Rows that came since stand after the others. All is read from the start when the runs
    have other adapters than before, or an answer was replaced.
    """

    def __init__(self, metrics: Sequence[Metric], picture: Picture) -> None:
        self._metrics, self._picture = metrics, picture
        self._corpus = Corpus()

    def read(self, runs: Sequence[Run]) -> Corpus:
        """The corpus with all rows of now.

        Raises:
            JournalError, ConfigurationError: as `collect` does.
        """
        self._arrange(runs)
        if not all(self._read(one) for one in self._corpus.contenders):
            self._corpus = Corpus()
            return self.read(runs)
        for column in self._corpus.columns().values():
            column.reach(len(self._corpus))
        for one in self._corpus.contenders:
            one.tables, one.tally = one.scorer.tables(), _tally(one)
        return self._corpus

    def _arrange(self, runs: Sequence[Run]) -> None:
        """Let each contender have its run as it is opened now."""
        several = Counter(label for run in runs for label in run.labels)
        wanted = [(run, adapter) for run in runs for adapter in run.labels]
        labels = [
            adapter if several[adapter] == 1 else f"{adapter} ({run.name})"
            for run, adapter in wanted
        ]
        if labels != [one.label for one in self._corpus.contenders]:
            self._corpus = Corpus()
            self._corpus.contenders = [
                Contender(label, run, adapter, Scorer(self._metrics))
                for label, (run, adapter) in zip(labels, wanted, strict=True)
            ]
        for one, (run, _) in zip(self._corpus.contenders, wanted, strict=True):
            one.run = run

    def _read(self, one: Contender) -> bool:
        """Add the contender's new rows; False once one of them replaces an answer."""
        last = one.read
        rows = one.run.journal.rows_after(one.adapter, last)
        for number, row in one.scorer.together(rows, lambda pair: pair[1]):
            place = _place(self._corpus, row.question, self._picture)
            if _has(one, place) and not _withdraw(one, place):
                if not one.read:  # all is read from the start, so none was replaced
                    raise _twice(one, row)
                return False
            for name, given in one.scorer.add(row):
                one.columns[f"score.{name}"].put(place, given)
            _add(one, place, row, self._corpus)
            last = max(last, number)
        one.read = last
        return True


def _has(one: Contender, place: int) -> bool:
    return _at(one.columns["seconds"], place) is not None


def _at(column: Column, place: int) -> Any:
    """The value at a place; None beyond the last that has one."""
    return column.at(place) if place < len(column.codes) else None


def _twice(one: Contender, row: Row) -> JournalError:
    what = f"The question {row.question.question_id!r} has two answers of {one.adapter!r}"
    return unusable(one.run.journal.path, what, READING.foreign)


def _withdraw(one: Contender, place: int) -> bool:
    """Forget a question that had no answer and was asked again; an answer cannot be forgotten."""
    columns = one.columns
    if _at(columns["cause"], place) is None:
        return False
    one.scorer.withdraw_error()
    one.pace.withdraw(_at(columns["place"], place) or "", columns["seconds"].at(place) / 1000)
    for column in columns.values():
        column.put(place, None)
    return True


def _tally(one: Contender) -> Tally:
    """The counts of its rows, as the journal gives them."""
    asked, causes, degraded = (
        {value: count for value, count in one.columns[name].counted().items() if value is not None}
        for name in ("seconds", "cause", "degraded")
    )
    done = sum(asked.values())
    total = one.run.question_count or done
    return Tally(
        done=done,
        failed=sum(causes.values()),
        degraded=sum(degraded.values()),
        unasked=max(0, total - done),
        causes=dict(sorted(causes.items(), key=lambda item: (-item[1], item[0]))),
    )


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
    columns["place"].put(place, row.place or None)
    contender.pace.add(row.place, row.seconds)
    if row.degraded:
        columns["degraded"].put(place, True)
    if row.attempts:
        columns["attempts"].put(place, _text([_attempt(one) for one in row.attempts]))
    if row.prediction is not None:
        columns["expected"].put(place, significant(row.prediction.expected))
        columns["bound"].put(place, significant(row.prediction.bound))
    if row.answer is not None:
        _add_answer(columns, place, row.answer, corpus)
    if row.failure is not None:
        _add_failure(columns, place, row.failure, corpus)


def _add_answer(columns: dict[str, Column], place: int, answer: Answer, corpus: Corpus) -> None:
    columns["answer"].put(place, answer.text)
    columns["finish"].put(place, answer.finish_reason)
    columns["plan"].put(place, _plan(answer.plan))
    columns["image_size"].put(place, answer.image_size)
    columns["probability"].put(place, significant(answer.probability))
    columns["logprob"].put(place, significant(answer.logprob))
    parts = _prompt(corpus, columns["prompt"], answer.prompt, corpus.texts.at(place))
    columns["prompt"].put(place, parts)
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
    detail = failure.detail[-_MOST_DETAIL:]
    if detail and len(detail) <= corpus.details_left:
        columns["detail"].put(place, detail)
        corpus.details_left -= len(detail)


def _prompt(corpus: Corpus, known: Column, prompt: str | None, question: str) -> Parts | None:
    """The prompt in parts, with the question between each two; none once there are too many.

    Most prompts differ in the question alone, so they share their parts.
    """
    if prompt is None:
        return None
    parts = tuple(prompt.split(question)) if question else (prompt,)
    if parts not in known:
        size = sum(map(len, parts))
        if size > corpus.prompts_left:
            return ()
        corpus.prompts_left -= size
    return parts


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "cause": attempt.cause,
        "message": attempt.message[:_MOST_DETAIL],
        "plan": _plan(attempt.plan),
    }


@lru_cache(maxsize=1024)  # a run has a few plans
def _plan(plan: GenerationPlan) -> str:
    """A plan in words, without what is not set."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in msgspec.to_builtins(plan).items()
        if not (value is None or value is False or value == ())
    )


def _text(value: object) -> str:
    return _json(value).decode()
