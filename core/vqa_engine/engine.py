"""The engine: puts questions to adapters, in one place or in many.

This is the central file. It knows sessions, the journal and the scores; it knows
nothing of any model, backend or file format.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypedDict, TypeVar, Unpack, get_args

from vqa_engine.adapter import (
    Answer,
    Choose,
    GenerationPlan,
    ImageSource,
    Question,
    as_image,
)
from vqa_engine.adapter.numbers import check_whole
from vqa_engine.crew.holder import Holder, Isolation
from vqa_engine.crew.opening import OpenPlaces, check_portable
from vqa_engine.crew.place import Terms
from vqa_engine.crew.sights import Sights
from vqa_engine.errors import (
    AnswerError,
    ConfigurationError,
    NothingAnswered,
    QuestionSetError,
    RunError,
    TooManyFailures,
    VqaEngineError,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.observer import SILENT, Observer
from vqa_engine.outcome import RunResult
from vqa_engine.plugins.resolution import Adapter, ResolvedAdapter, resolve
from vqa_engine.questions.given import as_question_set
from vqa_engine.questions.ordering import by_image, in_groups
from vqa_engine.questions.presence import check_choices, check_images
from vqa_engine.questions.question_set import (
    Downloaded,
    QuestionSet,
    Scored,
    Worded,
    most_images,
    why_scored,
)
from vqa_engine.questions.selection import extends
from vqa_engine.results import Failure, Loaded, MemoryEvent, Row
from vqa_engine.runs import manifest
from vqa_engine.runs.account import Account
from vqa_engine.runs.alike import Alike
from vqa_engine.runs.directory import RunDirectory, fresh
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest
from vqa_engine.scoring import Metric, MetricLike, default_metric
from vqa_engine.scoring import metrics as wanted_metrics
from vqa_engine.scoring.registry import written
from vqa_engine.session.protocol import Session
from vqa_engine.turns import Turn
from vqa_engine.worker import Timeouts

if TYPE_CHECKING:
    from vqa_engine.crew.crew import Crew
    from vqa_engine.crew.job import Job

SAME_FAILURES = 10
"""A run whose first so many questions all fail in the same way is not worth finishing."""

T = TypeVar("T")


class Settings(TypedDict, total=False):
    """Fields of a `GenerationPlan` for one question; see there."""

    prompt: str | None
    system: str | None
    max_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]
    choose: Choose | None
    logprobs: bool


class Engine:
    """Asks questions of one adapter or several, one after the other.

    `adapters` are names, `NAME@MODEL`, specs, classes or objects, one of them or several;
    None is the embedded model. `plan` is how every answer is generated. `metrics` are
    names, objects or functions of a prediction and a question; None is the one for what
    the questions have. `isolation="process"` runs each model in a worker process that the
    engine outlives; `"inline"` runs it in this one. `timeouts` say when a worker counts as
    hung. `memory_budget` is the bytes a model may hold, None for what the machine offers;
    `lossy` allows cheaper plans that may change an answer's text, which is then recorded
    on it; `memory_saver` computes in small pieces even where memory would allow more. A run
    of an adapter ends with its error when its first `same_failures` questions all fail in
    the same way, 0 for never, or once `max_failures` have failed. `places` are addresses as
    `--place` takes them: each model runs in all of them at once. With `parallel` the adapters
    run side by side, as far as there are places; without places each gets a worker. One
    thread at a time may use the engine; only `cancel` may be called from any. It is a context
    manager that releases the model at its end.

    Raises:
        AdapterError: a name is not installed, offered twice, or does not fit.
        ConfigurationError: a metric or a place is unknown, two adapters share a label, or
            one cannot run in places, or cannot score choices as the plan's `choose` asks.
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
        memory_saver: bool = False,
        same_failures: int = SAME_FAILURES,
        max_failures: int | None = None,
        places: Sequence[str] = (),
        parallel: bool = False,
        observer: Observer = SILENT,
    ) -> None:
        _check_whole(memory_budget=memory_budget, max_failures=max_failures)
        _check_whole(0, same_failures=same_failures)
        _check_kind(plan, GenerationPlan, "plan")
        _check_kind(timeouts, Timeouts, "timeouts")
        _check_kind(observer, Observer, "observer")
        flags = {"lossy": lossy, "memory_saver": memory_saver, "parallel": parallel}
        for name, flag in flags.items():
            _check_kind(flag, bool, name)
        places = _addresses(places)
        self._turn, self._stop = Turn(), threading.Event()
        self._adapters = resolve(adapters)
        if parallel and not places and len(self._adapters) > 1:
            places = (f"local://?count={len(self._adapters)}",)
        self._places, self._parallel = OpenPlaces(places), parallel
        if places:
            check_portable(self._adapters, isolation)
        self._plan = plan or GenerationPlan()
        self._metrics = () if metrics is None else wanted_metrics(metrics)
        if isolation not in get_args(Isolation):
            raise ConfigurationError(
                f"isolation is {isolation!r}; it must be one of {', '.join(get_args(Isolation))}."
            )
        self._sights = Sights(isolation)
        for adapter in self._adapters:
            if adapter.spec.planned(self._plan).choose:
                self._sights.check_scorer(adapter)
        self._policy = MemoryPolicy(budget=memory_budget, lossy=lossy, saver=memory_saver)
        self._observer = observer
        self._same_failures, self._max_failures = same_failures, max_failures
        self._timeouts = timeouts or Timeouts()
        self._journal: Journal | None = None
        self._directory: RunDirectory | None = None
        self._logs: Path | None = None
        self._holder = Holder(
            self._plan,
            isolation,
            observer,
            keep=self._keep,
            on_loaded=self._on_loaded,
            elsewhere=self._first_place if places else None,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """What rows and tables call the adapters, in the order they run."""
        return tuple(adapter.label for adapter in self._adapters)

    def family(self, label: str) -> str:
        """What task cards call the family of an adapter's model.

        Raises:
            VqaEngineError: the adapter cannot be asked.
        """
        return self._sights.family(self._named(label))

    def ask(
        self,
        image: str | IO[bytes] | ImageSource,
        text: str,
        *,
        choices: Sequence[str] = (),
        adapter: str | None = None,
        **settings: Unpack[Settings],
    ) -> Answer:
        """Ask one question of one adapter: the first, or the one with this label.

        `image` is a path, an encoded file's bytes, an open binary file, or a PIL image. The
        model stays loaded for the next question. `settings` are fields of the plan for this
        question alone: `prompt`, `system`, `max_tokens`, `temperature`, `seed`, `stop`,
        `choose`, `logprobs`.

        Raises:
            ConfigurationError: there is no such adapter, the settings are not valid, the
                adapter cannot score choices as they ask, or there are none.
            AnswerError: it gave no answer; the text says why.
            VqaEngineError: the model cannot be loaded.
        """
        source = _snapshot(as_image(image))
        question = Question(question_id="", image=source, text=text, choices=tuple(choices))
        named = self._named(adapter)
        if settings.get("choose", named.spec.planned(self._plan).choose):
            if not choices:
                raise ConfigurationError(
                    "There is nothing to choose from: give its choices, or leave out choose."
                )
            self._sights.check_scorer(named)
        with self._turn:
            reply = self._holder.ask(named, self._terms(named), question, settings)
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
        rows = self._answers(self._checked(as_question_set(questions)))
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
            ConfigurationError: the plan says `choose`, and no question has choices.
            RunError: the directory is in use, has other settings, or cannot be written.
            VqaEngineError: no adapter could be run; the first one's error.
        """
        asked = self._checked(as_question_set(questions))
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
            self._logs, self._directory = directory.logs, directory
            try:
                return self._run_all(asked, directory.journal, path, keep_failed)
            finally:
                self._logs = self._directory = None

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
            question_data=questions.data_commit if isinstance(questions, Downloaded) else None,
            metrics=tuple(map(written, self._scored_by(questions)[0])),
        )

    def close(self) -> None:
        """Let the loaded model go, and the places; twice is safe."""
        with self._turn:
            try:
                self._holder.let_go()
            finally:
                self._places.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _checked(self, questions: QuestionSet) -> QuestionSet:
        """The questions, once what can be seen of them without a model has been looked at."""
        check_images(questions)
        if any(one.spec.planned(self._plan).choose for one in self._adapters):
            check_choices(questions)
        return questions

    def _scored_by(self, questions: QuestionSet) -> tuple[tuple[Metric, ...], str]:
        """The metrics of a run over these questions, and why if the engine chose."""
        if self._metrics:
            return self._metrics, ""
        if isinstance(questions, Scored):
            return wanted_metrics(questions.metrics, default=True), why_scored(questions)
        default = default_metric(questions)
        return (default.metric,), default.why

    def _answers(self, asked: QuestionSet) -> Iterator[Row]:
        self._stop.clear()
        if self._places:
            yield from self._answers_in_places(asked)
            return
        for adapter in self._adapters:
            pairs, stopped = enumerate(self._for(adapter, asked)), self._stop.is_set
            records = self._holder.ask_all(adapter, self._terms(adapter), pairs, stopped=stopped)
            yield from (row for _, row, _ in records)

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
            self._account(label, journal, scored_by, len(questions), keep_failed)
            for label in self.labels
        ]
        errors: dict[str, VqaEngineError] = {}
        for together in self._together(list(zip(self._adapters, accounts, strict=True))):
            if self._stop.is_set():
                break
            for _, account in together:
                self._observer.started(account.label, account.progress())
            unfinished = [pair for pair in together if not pair[1].finished]
            if self._places and unfinished:
                self._run_in_places(unfinished, questions, journal, errors)
            elif unfinished:
                self._run_one(*unfinished[0], questions, journal, errors)
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

    def _account(
        self,
        label: str,
        journal: Journal,
        scored_by: tuple[Metric, ...],
        total: int,
        keep_failed: bool,
    ) -> Account:
        if rows := journal.tally(label).done:
            self._observer.resuming(label, rows)
        return Account(label, journal, scored_by, total, keep_failed=keep_failed)

    def _together(self, adapters: Sequence[T]) -> list[Sequence[T]]:
        """What runs at one time: one adapter after the other, or all."""
        return [adapters] if self._parallel and self._places else [[one] for one in adapters]

    def _run_in_places(
        self,
        adapters: Sequence[tuple[ResolvedAdapter, Account]],
        questions: QuestionSet,
        journal: Journal,
        errors: dict[str, VqaEngineError],
    ) -> None:
        self._holder.let_go()
        accounts = {account.label: account for _, account in adapters}
        alike = {label: self._alike(account) for label, account in accounts.items()}
        with ExitStack() as ending:
            ending.callback(setattr, self, "_journal", None)
            ending.callback(journal.flush)
            self._journal = journal
            jobs = []
            for adapter, account in adapters:
                try:
                    jobs.append(self._job(adapter, questions, account.has))
                except VqaEngineError as error:  # it concerns this adapter alone
                    self._fail(adapter.label, error, errors)
            records = ending.enter_context(closing(self._crew(jobs).records()))
            for job, record in records:
                try:
                    account = accounts[job.label]
                    alike[job.label].see(self._record(account, *record), account)
                    self._check_failures(account)
                except (NothingAnswered, TooManyFailures) as error:
                    job.fail(error)
                if self._stop.is_set():
                    break
        for job in jobs:
            if job.error is not None:
                self._fail(job.label, job.error, errors)

    def _answers_in_places(self, questions: QuestionSet) -> Iterator[Row]:
        for together in self._together(self._adapters):
            jobs = [self._job(adapter, questions) for adapter in together]
            with closing(self._crew(jobs).records()) as records:
                for _, (_, row, _) in records:
                    yield row
            for job in jobs:
                if job.error is not None:
                    raise job.error

    def _job(
        self,
        adapter: ResolvedAdapter,
        questions: QuestionSet,
        skip: Callable[[int], bool] | None = None,
    ) -> Job:
        from vqa_engine.crew.job import Job
        from vqa_engine.crew.work import Work

        return Job(self._terms(adapter), Work(in_groups(self._for(adapter, questions), skip)))

    def _crew(self, jobs: Sequence[Job]) -> Crew:
        from vqa_engine.crew.crew import Crew

        def commit() -> None:
            if self._journal is not None:
                self._journal.flush()

        return Crew(
            self._places.sites(),
            jobs,
            self._plan,
            observer=self._observer,
            keep=self._keep,
            on_loaded=self._on_loaded,
            when_idle=commit,
        )

    def _terms(self, adapter: ResolvedAdapter) -> Terms:
        return Terms(
            spec=adapter.spec, policy=self._policy, timeouts=self._timeouts, logs=self._logs
        )

    def _run_one(
        self,
        adapter: ResolvedAdapter,
        account: Account,
        questions: QuestionSet,
        journal: Journal,
        errors: dict[str, VqaEngineError],
    ) -> None:
        self._holder.let_go()  # a model that `ask` left loaded was not loaded under this journal
        try:
            with ExitStack() as ending:  # each step is taken, whatever another one raises
                ending.callback(self._holder.forget_account)
                ending.callback(setattr, self, "_journal", None)
                ending.callback(journal.flush)
                ending.callback(account.abandon)  # the process lives: nothing in flight killed it
                ending.callback(self._holder.let_go)
                self._journal = journal
                self._ask_all(adapter, questions, account)
        except (RunError, QuestionSetError):
            raise  # these concern the whole run, not this adapter
        except VqaEngineError as error:
            self._fail(adapter.label, error, errors)

    def _fail(self, label: str, error: VqaEngineError, errors: dict[str, VqaEngineError]) -> None:
        errors[label] = error
        if len(self._adapters) > 1:  # a lone one's error is raised
            self._observer.failed(label, error)

    def _ask_all(self, adapter: ResolvedAdapter, questions: QuestionSet, account: Account) -> None:
        alike, pairs = self._alike(account), by_image(self._for(adapter, questions), account.has)
        records = self._holder.ask_all(
            adapter, self._terms(adapter), pairs, account, stopped=self._stop.is_set
        )
        for record in records:
            alike.see(self._record(account, *record), account)
            self._check_failures(account)

    def _check_failures(self, account: Account) -> None:
        """End the run of an adapter of which as many questions failed as are allowed.

        Raises:
            TooManyFailures: of this process; a question that was kept failed does not count.
        """
        if self._max_failures is not None and account.failed_now >= self._max_failures:
            raise TooManyFailures(account.label, account.failed_now, account.last_failure)

    def _alike(self, account: Account) -> Alike:
        return Alike(0 if account.answered_before else self._same_failures)

    def _record(
        self, account: Account, position: int, row: Row, events: tuple[MemoryEvent, ...]
    ) -> Row:
        """Record a row and report it; the row that was stored comes back."""
        stored = account.add(position, row, events)
        for event in events:
            self._observer.memory(account.label, event)
        self._observer.answered(stored, account.progress())
        return stored

    def _for(self, adapter: ResolvedAdapter, questions: QuestionSet) -> QuestionSet:
        """The questions in the words of the adapter's family.

        Raises:
            ConfigurationError: they have more images than the model handles.
            VqaEngineError: the adapter cannot be asked what it handles.
        """
        most = most_images(questions)
        if most > 1 and most > (allowed := self._sights.of(adapter).images):
            raise ConfigurationError(
                f"{questions.name} has questions with {most} images, and the adapter "
                f"{adapter.label!r} handles {allowed} per question; use an adapter that handles "
                "more (vqa-engine adapters NAME says how many)."
            )
        if isinstance(questions, Worded):
            return questions.worded_for(self._sights.family(adapter))
        return questions

    def _named(self, label: str | None) -> ResolvedAdapter:
        for adapter in self._adapters:
            if label in {None, adapter.label}:
                return adapter
        known = ", ".join(c.label for c in self._adapters)
        raise ConfigurationError(f"This engine has no adapter {label!r}; it has: {known}.")

    def _first_place(self, terms: Terms) -> Session:
        return self._places.sites()[0].session(terms)

    def _on_loaded(self, label: str, loaded: Loaded) -> None:
        """Record and report what is known now that a model is loaded."""
        if self._directory is not None:
            self._directory.loaded(label, loaded)
        self._observer.loaded(label, loaded)

    def _keep(self, label: str, events: tuple[MemoryEvent, ...]) -> None:
        """Journal and report memory events that belong to no question."""
        if self._journal is not None:
            self._journal.record_events(label, events)
        for event in events:
            self._observer.memory(label, event)


def _check_whole(least: int = 1, **settings: int | None) -> None:
    for name, value in settings.items():
        try:
            if value is not None:
                check_whole(name, value, least)
        except ValueError as error:
            raise ConfigurationError(f"{error}.") from error


def _check_kind(value: object, kind: type, name: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} is {value!r:.100}; it must be a {kind.__name__}.")


def _addresses(places: Sequence[str]) -> tuple[str, ...]:
    """The places as addresses; a text is one."""
    given: object = (places,) if isinstance(places, str) else places
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if all(isinstance(one, str) for one in found):
        return found
    raise ConfigurationError(f"places is {places!r:.100}; it must be a sequence of addresses.")


def _snapshot(image: ImageSource) -> ImageSource:
    """A PIL image as it is now: a worker takes the same object for the same picture."""
    return image if isinstance(image, (Path, bytes)) else image.copy()
