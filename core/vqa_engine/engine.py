"""The engine: puts questions to adapters, one model resident at a time.

This is the central file. It knows sessions, the journal and the scores; it knows
nothing of any model, backend or file format.
"""

from __future__ import annotations

import io
import logging
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypedDict, Unpack, get_args

from attrs import evolve, field, frozen

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    ImageSource,
    Question,
    QuestionId,
    images_per_question,
)
from vqa_engine.errors import (
    AnswerError,
    BackendGone,
    ConfigurationError,
    NothingAnswered,
    QuestionSetError,
    RunError,
    TooManyFailures,
    VqaEngineError,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.observer import SILENT, Observer
from vqa_engine.plugins.resolution import Adapter, ResolvedAdapter, resolve
from vqa_engine.questions.given import as_question_set
from vqa_engine.questions.ordering import by_image
from vqa_engine.questions.presence import check_images
from vqa_engine.questions.question_set import QuestionSet, Scored, most_images, worded
from vqa_engine.questions.selection import extends
from vqa_engine.results import Failure, MemoryEvent, Note, Reply, Row
from vqa_engine.runs import manifest
from vqa_engine.runs.account import Account
from vqa_engine.runs.directory import RunDirectory, fresh, open_journal, read_manifest
from vqa_engine.runs.export import flat
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.runs.manifest import Manifest
from vqa_engine.runs.reading import Graded, graded
from vqa_engine.runs.rescoring import chosen_metrics, comparisons, score_run
from vqa_engine.scoring import Metric, MetricLike, ScoreTable, default_metric
from vqa_engine.scoring import metrics as wanted_metrics
from vqa_engine.scoring.comparison import Comparison
from vqa_engine.scoring.report import as_text, score_tables
from vqa_engine.session.local import LocalSession
from vqa_engine.session.protocol import Session
from vqa_engine.turns import Turn
from vqa_engine.worker import Timeouts, WorkerSession

if TYPE_CHECKING:
    from pandas import DataFrame

log = logging.getLogger(__name__)

Isolation = Literal["process", "inline"]

MOST_NOTES = 1000
"""Log records that wait to be reported, the latest; a thread may log without end."""

SAME_FAILURES = 10
"""A run whose first so many questions all fail in the same way is not worth finishing."""

MAX_DEATHS = 3
"""A question that was in flight this often when the whole process died is given up."""


class Settings(TypedDict, total=False):
    """Fields of a `GenerationPlan` for one question; see there."""

    prompt: str | None
    system: str | None
    max_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]


@frozen(kw_only=True)
class RunResult:
    """What a run gave: scores and counts for each adapter, by label, and every row.

    `directory` is where it is kept, None for a run that was given no output. `errors`
    are the adapters that could not be run at all. `why` says why the engine chose this
    metric, empty if it was named.
    """

    directory: Path | None
    scores: Mapping[str, tuple[ScoreTable, ...]]
    tallies: Mapping[str, Tally]
    errors: Mapping[str, VqaEngineError]
    why: str = ""
    _metrics: tuple[Metric, ...] = field(default=(), repr=False)
    _journal: Journal | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every adapter ran and every question has an answer."""
        return not self.errors and all(tally.open == 0 for tally in self.tallies.values())

    def rows(self, adapter: str | None = None) -> Iterator[Row]:
        """Rows of one adapter, or of all, in the caller's question order; lazy."""
        if self._journal is not None:
            yield from self._journal.rows(adapter)
        elif self.directory is not None:
            journal = open_journal(self.directory)
            try:
                yield from journal.rows(adapter)
            finally:
                journal.close()

    def to_pandas(self, adapter: str | None = None) -> DataFrame:
        """Rows as a frame: what was asked and answered, and a column for each metric.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ConfigurationError("to_pandas needs pandas: pip install pandas") from error
        return DataFrame([flat(one) for one in self.graded(adapter)])

    def comparisons(self) -> tuple[Comparison, ...]:
        """Each further adapter compared with the first, by the first metric."""
        ran = {label: each for label, each in self.scores.items() if label not in self.errors}
        return tuple(comparisons(self.rows, ran, self._metrics[0]))

    def table(self) -> str:
        """The scores as a text table."""
        return as_text(score_tables(self.scores, why=self.why, comparisons=self.comparisons()))

    def __str__(self) -> str:
        return self.table()

    def accuracy(self, adapter: str | None = None) -> float:
        """Percent in the first metric, of an adapter by its label or of the only one.

        Raises:
            ConfigurationError: there is no adapter of this label, or there are several.
        """
        known = tuple(self.scores)
        label = known[0] if adapter is None and len(known) == 1 else adapter
        if label is None or label not in self.scores:
            raise ConfigurationError(
                f"Say whose accuracy: the adapters of this run are {', '.join(known)}."
            )
        return self.scores[label][0].overall.percent

    def graded(self, adapter: str | None = None) -> Iterator[Graded]:
        """Rows with their scores (0..1) in each metric; lazy."""
        return (graded(row, self._metrics) for row in self.rows(adapter))


def open_run(path: str | Path, metrics: Iterable[MetricLike] | None = None) -> RunResult:
    """The result of a run on disk, scored again; no model is loaded.

    Raises:
        RunError: the directory holds no run, or it cannot be read.
        ConfigurationError: a metric is unknown.
    """
    directory = Path(path)
    total = read_manifest(directory).question_count
    with closing(open_journal(directory)) as journal:
        chosen, why = chosen_metrics(journal, metrics or ())
        labels = journal.labels()
        tallies = {label: journal.tally(label, total) for label in labels}
    return RunResult(
        directory=directory,
        scores=score_run(directory, chosen).scores,
        tallies=tallies,
        errors={},
        why=why,
        metrics=chosen,
    )


@frozen
class _Resident:
    """The loaded model; `window` is how many questions it is offered at once, under `plan`."""

    adapter: ResolvedAdapter
    session: Session
    window: int
    plan: GenerationPlan


class Engine:
    """Asks questions of one adapter or several, one after the other.

    `adapters` are names, `NAME@MODEL`, specs, classes or objects, one of them or several;
    None is the embedded model. `plan` is how every answer is generated. `metrics` are
    names, objects or functions of a prediction and a question; None is the one for what
    the questions have. `isolation="process"` runs each model in a worker process that the
    engine outlives; `"inline"` runs it in this one. `timeouts` say when a worker counts as
    hung. `memory_budget` is the bytes a model may hold, None for what the machine offers;
    `lossy` allows cheaper plans that may change an answer's text, which is then recorded
    on it. A run of an adapter ends with its error when its first `same_failures` questions
    all fail in the same way, 0 for never, or once `max_failures` have failed. One thread at a
    time may use the engine; only `cancel` may be called from any. It is a context manager
    that releases the model at its end.

    Raises:
        AdapterError: a name is not installed, offered twice, or does not fit.
        ConfigurationError: a metric or `isolation` is unknown, or two adapters share a label.
        EngineBusy: from every method but `cancel`, when another thread is using the engine.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        adapters: Adapter | Iterable[Adapter] | None = None,
        *,
        plan: GenerationPlan | None = None,
        metrics: MetricLike | Iterable[MetricLike] | None = None,
        isolation: Isolation = "process",
        timeouts: Timeouts | None = None,
        memory_budget: int | None = None,
        lossy: bool = False,
        same_failures: int = SAME_FAILURES,
        max_failures: int | None = None,
        observer: Observer = SILENT,
    ) -> None:
        if isolation not in get_args(Isolation):
            ways = " or ".join(map(repr, get_args(Isolation)))
            raise ConfigurationError(f"isolation must be {ways}, not {isolation!r}.")
        self._turn, self._stop = Turn(), threading.Event()
        self._adapters = resolve(adapters)
        self._plan = plan or GenerationPlan()
        self._metrics = () if metrics is None else wanted_metrics(metrics)
        self._isolation = isolation
        self._policy = MemoryPolicy(budget=memory_budget, lossy=lossy)
        self._observer = observer
        self._same_failures, self._max_failures = same_failures, max_failures
        self._timeouts = timeouts or Timeouts()
        self._resident: _Resident | None = None
        self._journal: Journal | None = None
        self._logs: Path | None = None
        self._heard: deque[tuple[str, Note]] = deque(maxlen=MOST_NOTES)
        self._begun = _Begun()

    @property
    def labels(self) -> tuple[str, ...]:
        """What rows and tables call the adapters, in the order they run."""
        return tuple(adapter.label for adapter in self._adapters)

    def ask(
        self,
        image: str | ImageSource | io.BufferedIOBase,
        text: str,
        *,
        choices: Sequence[str] = (),
        adapter: str | None = None,
        **settings: Unpack[Settings],
    ) -> Answer:
        """Ask one question of one adapter: the first, or the one with this label.

        `image` is a path, an encoded file's bytes, an open binary file, or a PIL image. The
        model stays loaded for the next question. `settings` are fields of the plan for this
        question alone: `prompt`, `system`, `max_tokens`, `temperature`, `seed`, `stop`.

        Raises:
            AnswerError: it gave no answer; the text says why.
            VqaEngineError: the model cannot be loaded.
        """
        question = Question(
            question_id="ask", image=_source(image), text=text, choices=tuple(choices)
        )
        with self._turn:
            resident = self._hold(self._named(adapter))
            plan = evolve(resident.plan, **settings)
            [(_, reply)] = resident.session.ask([question], plan)
            self._report_notes()
        if reply.answer is None:
            failure = reply.failure or Failure(cause="adapter", message="it gave no answer")
            raise AnswerError(failure.message, cause=failure.cause)
        return reply.answer

    def answers(self, questions: QuestionSet | Iterable[Question]) -> Iterator[Row]:
        """Put every question to every adapter, and yield each row as it comes.

        Nothing is kept: use `run` for a journal, resume and scores.

        Raises:
            VqaEngineError: a model cannot be loaded.
        """
        rows = self._answers(as_question_set(questions))
        while True:
            with self._turn:
                row = next(rows, None)
            if row is None:
                return
            yield row

    def cancel(self) -> None:
        """End the run that is going on, from any thread, once the questions in flight are through.

        `run` then returns what there is; the same run continues later. `answers` ends.
        """
        self._stop.set()

    def run(
        self,
        questions: QuestionSet | Iterable[Question],
        output: str | Path | None = None,
        *,
        fresh_start: bool = False,
        keep_failed: bool = False,
        accept_changes: bool = False,
    ) -> RunResult:
        """Put every question to every adapter; journal, score, and resume what was begun.

        `output` is the run directory: a new one is made, an old one with the same
        settings is continued, and every question without an answer is asked again, unless
        it failed and `keep_failed` is set. A run grows: another adapter continues it, and
        so do more questions at the end of the same set; with `accept_changes` new versions of
        libraries are recorded and it goes on. With `fresh_start` a new one is made beside an
        old one. An adapter that cannot be run is reported in `errors`, and the next one runs.

        Raises:
            QuestionSetError: none of the image files exists.
            RunError: the directory is in use, has other settings, or cannot be written.
            VqaEngineError: no adapter could be run; the first one's error.
        """
        asked = as_question_set(questions)
        check_images(asked)
        with self._turn:
            self._stop.clear()
            if output is None:
                return self._run_in_memory(asked, keep_failed)
            path = fresh(Path(output)) if fresh_start else Path(output)
            return self._run_on_disk(asked, path, keep_failed, accept_changes)

    def _run_on_disk(
        self, asked: QuestionSet, path: Path, keep_failed: bool, accept_changes: bool
    ) -> RunResult:
        with RunDirectory(
            path,
            self.manifest(asked),
            extends=partial(extends, asked),
            accept_changes=accept_changes,
        ) as directory:
            self._logs = directory.logs
            try:
                return self._run_all(asked, directory.journal, path, keep_failed)
            finally:
                self._logs = None

    def manifest(self, questions: QuestionSet) -> Manifest:
        """What decides the answers of a run over these questions."""
        version, python = manifest.environment()
        return Manifest(
            vqa_engine=version,
            python=python,
            adapters={c.label: manifest.adapter_record(c.spec) for c in self._adapters},
            plan=self._plan,
            question_set=questions.name,
            question_count=len(questions),
            question_digest=questions.digest(),
            metrics=tuple(one.name for one in self._scored_by(questions)[0]),
        )

    def close(self) -> None:
        """Let the loaded model go; twice is safe."""
        with self._turn:
            self._let_go()

    def _let_go(self) -> None:
        if self._resident is None:
            return
        label, session = self._resident.adapter.label, self._resident.session
        self._resident = None
        released = session.release()
        self._report_notes()
        self._note(label, released.events)
        self._observer.released(label, released)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answers(self, asked: QuestionSet) -> Iterator[Row]:
        self._stop.clear()
        for adapter in self._adapters:
            mine = worded(asked, adapter.spec.name)
            _check_images(adapter, mine)
            for _, row, _ in self._put(self._hold(adapter), enumerate(mine)):
                yield row

    def _scored_by(self, questions: QuestionSet) -> tuple[tuple[Metric, ...], str]:
        """The metrics of a run over these questions, and why if the engine chose."""
        if self._metrics:
            return self._metrics, ""
        if isinstance(questions, Scored):
            return wanted_metrics(questions.metrics), f"the metric of {questions.name}"
        default = default_metric(questions)
        return (default.metric,), default.why

    def _run_in_memory(self, questions: QuestionSet, keep_failed: bool) -> RunResult:
        journal = Journal()
        result = self._run_all(questions, journal, None, keep_failed)
        weakref.finalize(result, journal.close)
        return result

    def _run_all(
        self, questions: QuestionSet, journal: Journal, path: Path | None, keep_failed: bool
    ) -> RunResult:
        scored_by, why = self._scored_by(questions)
        accounts = [
            Account(a.label, journal, scored_by, len(questions), keep_failed=keep_failed)
            for a in self._adapters
        ]
        errors: dict[str, VqaEngineError] = {}
        for adapter, account in zip(self._adapters, accounts, strict=True):
            if self._stop.is_set():
                break
            self._observer.started(account.label, account.progress())
            if not account.finished:
                self._run_one(adapter, questions, account, journal, errors)
        if len(errors) == len(self._adapters):
            raise next(iter(errors.values()))
        return RunResult(
            directory=path,
            scores={account.label: account.scores() for account in accounts},
            tallies={account.label: account.tally() for account in accounts},
            errors=errors,
            why=why,
            metrics=scored_by,
            journal=journal if path is None else None,
        )

    def _run_one(
        self,
        adapter: ResolvedAdapter,
        questions: QuestionSet,
        account: Account,
        journal: Journal,
        errors: dict[str, VqaEngineError],
    ) -> None:
        self.close()  # a model that `ask` left loaded was not loaded under this journal
        try:
            with ExitStack() as ending:  # each step is taken, whatever another one raises
                ending.callback(setattr, self, "_begun", _Begun())
                ending.callback(setattr, self, "_journal", None)
                ending.callback(journal.flush)
                ending.callback(account.abandon)  # the process lives: nothing in flight killed it
                ending.callback(self.close)
                self._journal = journal
                self._ask_all(adapter, questions, account)
        except (RunError, QuestionSetError):
            raise  # these concern the whole run, not this adapter
        except VqaEngineError as error:
            errors[adapter.label] = error
            if len(self._adapters) > 1:  # a lone one's error is raised
                self._observer.failed(adapter.label, error)

    def _ask_all(self, adapter: ResolvedAdapter, questions: QuestionSet, account: Account) -> None:
        alike = _Alike(0 if account.answered_before else self._same_failures)
        questions = worded(questions, adapter.spec.name)
        _check_images(adapter, questions)
        resident = self._hold(adapter)
        failed = 0
        for position, row, events in self._put(resident, self._todo(questions, account), account):
            stored = self._record(account, position, row, events)
            alike.see(stored, account)
            failed += stored.failure is not None
            if stored.failure is not None and failed == self._max_failures:
                raise TooManyFailures(account.label, failed, stored.failure.message)

    def _todo(self, questions: QuestionSet, account: Account) -> Iterator[tuple[int, Question]]:
        """What is still to be asked, image by image."""
        for position, question in by_image(questions, account.has):
            if account.suspects and self._is_given_up(account, question):
                self._record(account, position, _given_up(account.label, question), ())
            else:
                yield position, question

    def _is_given_up(self, account: Account, question: Question) -> bool:
        """Where a death takes this whole process, a question gets as many tries as workers."""
        return self._isolation == "inline" and account.deaths(question) >= MAX_DEATHS

    def _put(
        self,
        resident: _Resident,
        pairs: Iterator[tuple[int, Question]],
        account: Account | None = None,
    ) -> Iterator[tuple[int, Row, tuple[MemoryEvent, ...]]]:
        """Put questions to a model, as many at once as its adapter takes."""
        window: dict[int, tuple[int, Question]] = {}
        self._begun = _Begun(account)
        while not self._stop.is_set():
            size = self._window_size(resident, account) - len(window)
            window.update((id(pair[1]), pair) for pair in islice(pairs, size))
            if not window:
                return
            if self._journal is not None and resident.window > 1:
                self._journal.flush()  # a batch begins before its worker's host hears of it
            upcoming = [question for _, question in window.values()]
            for question, row, events in _ask(resident, upcoming):
                position, _ = window.pop(id(question))
                self._begun.forget(question)
                yield position, row, events
            self._report_notes()

    def _window_size(self, resident: _Resident, account: Account | None) -> int:
        """Questions that are offered at one time.

        Where a death takes this whole process, what was in flight then goes one by one: so
        no question is given up for another's sake.
        """
        alone = self._isolation == "inline" and account is not None and account.suspects
        return 1 if alone else resident.window

    def _record(
        self, account: Account, position: int, row: Row, events: tuple[MemoryEvent, ...]
    ) -> Row:
        """Record a row and report it; the row that was stored comes back."""
        stored = account.add(position, row, events)
        for event in events:
            self._observer.memory(account.label, event)
        self._observer.answered(stored, account.progress())
        return stored

    def _plan_of(self, adapter: ResolvedAdapter) -> GenerationPlan:
        try:
            return evolve(self._plan, **adapter.spec.settings)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The settings of {adapter.label!r} are not those of a plan: {error}."
            ) from error

    def _named(self, label: str | None) -> ResolvedAdapter:
        for adapter in self._adapters:
            if label in {None, adapter.label}:
                return adapter
        known = ", ".join(c.label for c in self._adapters)
        raise ConfigurationError(f"This engine has no adapter {label!r}; it has: {known}.")

    def _hold(self, adapter: ResolvedAdapter) -> _Resident:
        """The adapter's session, loaded; any other model is let go first."""
        if self._resident is not None and self._resident.adapter is adapter:
            return self._resident
        self.close()
        self._observer.loading(adapter.label)
        session = self._session(adapter)
        try:
            loaded = session.load()
        except BaseException:
            session.release()
            raise
        finally:
            self._report_notes()
        self._resident = _Resident(adapter, session, loaded.window, self._plan_of(adapter))
        self._note(adapter.label, loaded.events)
        self._observer.loaded(adapter.label, loaded)
        return self._resident

    def _session(self, adapter: ResolvedAdapter) -> Session:
        def heard(note: Note) -> None:
            self._heard.append((adapter.label, note))

        if self._isolation == "process" and adapter.portable:
            return WorkerSession(
                adapter.spec,
                log_directory=self._logs,
                policy=self._policy,
                timeouts=self._timeouts,
                on_begun=self._on_begun,
                on_note=heard,
            )
        if self._isolation == "process":
            log.warning("%s lives in this process alone, so it runs inline", adapter.label)
        return LocalSession(
            adapter.make(),
            adapter.spec.model,
            self._policy,
            label=adapter.label,
            on_begun=self._on_begun,
            on_note=heard,
        )

    def _on_begun(self, questions: Sequence[Question]) -> None:
        self._begun(questions)

    def _report_notes(self) -> None:
        """Tell, in the engine's thread, what was logged in whichever."""
        while self._heard:
            self._observer.note(*self._heard.popleft())

    def _note(self, label: str, events: tuple[MemoryEvent, ...]) -> None:
        """Journal and tell memory events that belong to no question."""
        if self._journal is not None:
            self._journal.record_events(label, events)
        for event in events:
            self._observer.memory(label, event)


def _source(image: str | ImageSource | io.BufferedIOBase) -> ImageSource:
    """What a question can hold; a PIL image as it is now, for a worker takes the same object
    for the same picture."""
    if isinstance(image, str):
        return Path(image)
    if isinstance(image, io.BufferedIOBase):
        return image.read()
    return image if isinstance(image, (Path, bytes)) else image.copy()


class _Begun:
    """Journals each question when it is first asked, whatever becomes of it afterwards."""

    def __init__(self, account: Account | None = None) -> None:
        self._account = account
        self._ids: set[QuestionId] = set()

    def __call__(self, questions: Sequence[Question]) -> None:
        new = [q.question_id for q in questions if q.question_id not in self._ids]
        if self._account is not None and new:
            self._account.begin(new)
            self._ids.update(new)

    def forget(self, question: Question) -> None:
        """The question is through."""
        self._ids.discard(question.question_id)


class _Alike:
    """Ends a run whose first `most` questions all fail in the same way; 0 never does."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0
        self._first = ""

    def see(self, row: Row, account: Account) -> None:
        """Take a row.

        Raises:
            NothingAnswered: it was the last of the first ones, and all failed alike.
        """
        failure = row.failure
        reason = f"{failure.cause}: {failure.reason or failure.message}" if failure else ""
        if not self._most or not reason or self._first not in {"", reason}:
            self._most = 0
            return
        self._first, self._seen = reason, self._seen + 1
        if failure is not None and self._seen == self._most:
            raise NothingAnswered(account.label, self._seen, failure.cause, failure.message)


def _ask(
    resident: _Resident, upcoming: Sequence[Question]
) -> Iterator[tuple[Question, Row, tuple[MemoryEvent, ...]]]:
    """What is settled of these questions.

    Raises:
        BackendGone: once all others have their rows; what has none stays open.
    """
    started = perf_counter()
    settled = resident.session.ask(upcoming, resident.plan)
    seconds = (perf_counter() - started) / len(settled)
    gone = [reply.failure for _, reply in settled if _is_gone(reply)]
    for question, reply in settled:
        if not _is_gone(reply):
            row = _row(resident.adapter.label, question, reply, resident.plan, seconds)
            yield question, row, reply.events
    if gone:
        raise BackendGone(gone[0].message if gone[0] else "")


def _is_gone(reply: Reply) -> bool:
    return reply.failure is not None and reply.failure.cause == "gone"


def _row(
    label: str, question: Question, reply: Reply, asked: GenerationPlan, seconds: float
) -> Row:
    return Row(
        adapter=label,
        question=question,
        answer=reply.answer,
        failure=reply.failure,
        attempts=reply.attempts,
        seconds=seconds,
        prediction=reply.prediction,
        degraded=reply.answer is not None and _is_lossier(reply.answer.plan, asked),
    )


def _is_lossier(used: GenerationPlan, asked: GenerationPlan) -> bool:
    """Whether a plan may change the text where the one asked for would not.

    A field that a model cannot obey comes back as None, which loses nothing.
    """
    return used.kv_bits not in {None, asked.kv_bits} or used.image_longest_edge not in {
        None,
        asked.image_longest_edge,
    }


def _check_images(adapter: ResolvedAdapter, questions: QuestionSet) -> None:
    """Refuse questions with several images before the model is loaded.

    An adapter of another interpreter cannot be looked at here.
    """
    most = most_images(questions)
    if most < 2 or adapter.spec.python is not None:
        return
    allowed = images_per_question(adapter.make())
    if most > allowed:
        raise ConfigurationError(
            f"{questions.name} has questions with {most} images, and the adapter "
            f"{adapter.label!r} handles {allowed} per question; use an adapter that handles more."
        )


def _given_up(label: str, question: Question) -> Row:
    message = f"the whole process died {MAX_DEATHS} times while this question was in flight"
    return Row(adapter=label, question=question, failure=Failure(cause="killed", message=message))
