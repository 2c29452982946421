"""The engine: puts questions to adapters, one model resident at a time.

This is the central file. It knows sessions, the journal and the scores; it knows
nothing of any model, backend or file format.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self

from attrs import field, frozen

from vqa_engine.adapter import Answer, GenerationPlan, ImageSource, Question
from vqa_engine.errors import (
    AnswerError,
    BackendGone,
    ConfigurationError,
    QuestionSetError,
    RunError,
    VqaEngineError,
)
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.observer import SILENT, Observer
from vqa_engine.plugins.contender import Adapter, Contender, contenders
from vqa_engine.questions.given import as_question_set
from vqa_engine.questions.ordering import by_image
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.results import Failure, MemoryEvent, Note, Reply, Row
from vqa_engine.runs import manifest
from vqa_engine.runs.directory import RunDirectory, fresh, open_journal
from vqa_engine.runs.journal import Journal, Tally
from vqa_engine.runs.ledger import Ledger
from vqa_engine.runs.manifest import Manifest
from vqa_engine.scoring import ScoreTable, metric
from vqa_engine.scoring.report import as_text, score_tables
from vqa_engine.session.local import LocalSession, Session
from vqa_engine.worker import Timeouts, WorkerSession

log = logging.getLogger(__name__)

Isolation = Literal["process", "inline"]

DEFAULT_METRICS = ("vqa-v2-normalised", "vqa-v2-official")

MOST_NOTES = 1000
"""Log records that wait to be told, the latest; an adapter's thread may log without end."""

MAX_DEATHS = 3
"""A question that was in flight this often when the whole process died is given up."""


@frozen(kw_only=True)
class RunResult:
    """What a run gave: scores and counts for each adapter, by label, and every row.

    `directory` is where it is kept, None for a run that was given no output. `errors`
    are the adapters that could not be run at all.
    """

    directory: Path | None
    scores: Mapping[str, tuple[ScoreTable, ...]]
    tallies: Mapping[str, Tally]
    errors: Mapping[str, VqaEngineError]
    _journal: Journal | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Whether every adapter ran and every question has an answer."""
        return not self.errors and all(tally.failed == 0 for tally in self.tallies.values())

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

    def table(self) -> str:
        """The scores as a text table."""
        return as_text(score_tables(self.scores))


@frozen
class _Resident:
    """The loaded model; `reach` is how many questions it is offered at once."""

    contender: Contender
    session: Session
    reach: int


class Engine:
    """Asks questions of one adapter or several, one after the other.

    `adapters` are names, specs, classes or objects; None is the embedded model. `plan`
    is how every answer is generated. `isolation="process"` runs each model in a worker
    process that the engine outlives; `"inline"` runs it in this one. `timeouts` say when
    a worker counts as hung. `memory_budget` is
    the bytes a model may hold, None for what the machine offers; `lossy` allows cheaper
    plans that may change an answer's text, which is then recorded on it. The engine is
    used from one thread, and is a context manager that lets the model go at its end.

    Raises:
        AdapterError: a name is not installed, offered twice, or does not fit.
        ConfigurationError: a metric is unknown, or two adapters share a label.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        adapters: Iterable[Adapter] | None = None,
        *,
        plan: GenerationPlan | None = None,
        metrics: Sequence[str] = DEFAULT_METRICS,
        isolation: Isolation = "process",
        timeouts: Timeouts | None = None,
        memory_budget: int | None = None,
        lossy: bool = False,
        observer: Observer = SILENT,
    ) -> None:
        self._contenders = contenders(adapters)
        self._plan = plan or GenerationPlan()
        self._metrics = tuple(metric(name) for name in metrics)
        self._isolation = isolation
        self._policy = MemoryPolicy(budget=memory_budget, lossy=lossy)
        self._observer = observer
        self._advised: set[str] = set()
        self._timeouts = timeouts or Timeouts()
        self._resident: _Resident | None = None
        self._journal: Journal | None = None
        self._logs: Path | None = None
        self._heard: deque[tuple[str, Note]] = deque(maxlen=MOST_NOTES)

    @property
    def labels(self) -> tuple[str, ...]:
        """What rows and tables call the adapters, in the order they run."""
        return tuple(contender.label for contender in self._contenders)

    def ask(
        self,
        image: str | ImageSource,
        text: str,
        *,
        choices: Sequence[str] = (),
        adapter: str | None = None,
    ) -> Answer:
        """Ask one question of one adapter: the first, or the one with this label.

        The model stays loaded for the next question.

        Raises:
            AnswerError: it gave no answer; the text says why.
            VqaEngineError: the model cannot be loaded.
        """
        source = Path(image) if isinstance(image, str) else _snapshot(image)
        question = Question(question_id="ask", image=source, text=text, choices=tuple(choices))
        resident = self._hold(self._named(adapter))
        reply = resident.session.answer(question, self._plan)
        self._tell_notes()
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
        asked = as_question_set(questions)
        for contender in self._contenders:
            for _, row, _ in self._put(self._hold(contender), enumerate(asked)):
                yield row

    def run(
        self,
        questions: QuestionSet | Iterable[Question],
        output: str | Path | None = None,
        *,
        fresh_start: bool = False,
    ) -> RunResult:
        """Put every question to every adapter; journal, score, and resume what was begun.

        `output` is the run directory: a new one is made, an old one with the same
        settings is continued. With `fresh_start` a new one is made beside an old one.
        An adapter that cannot be run is reported in `errors`, and the next one runs.

        Raises:
            RunError: the directory is in use, has other settings, or cannot be written.
            VqaEngineError: no adapter could be run; the first one's error.
        """
        asked = as_question_set(questions)
        if output is None:
            return self._run_in_memory(asked)
        path = fresh(Path(output)) if fresh_start else Path(output)
        with RunDirectory(path, self.manifest(asked)) as directory:
            self._logs = directory.logs
            try:
                return self._run_all(asked, directory.journal, path)
            finally:
                self._logs = None

    def manifest(self, questions: QuestionSet) -> Manifest:
        """What decides the answers of a run over these questions."""
        version, python = manifest.environment()
        return Manifest(
            vqa_engine=version,
            python=python,
            libraries=manifest.libraries(),
            adapters={
                c.label: manifest.adapter_record(c.spec, self._library(c)) for c in self._contenders
            },
            plan=self._plan,
            question_set=questions.name,
            question_count=len(questions),
            question_digest=questions.digest(),
            metrics=tuple(profile.name for profile in self._metrics),
        )

    def close(self) -> None:
        """Let the loaded model go; twice is safe."""
        if self._resident is None:
            return
        label, session = self._resident.contender.label, self._resident.session
        self._resident = None
        released = session.release()
        self._tell_notes()
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

    def _run_in_memory(self, questions: QuestionSet) -> RunResult:
        journal = Journal()
        result = self._run_all(questions, journal, None)
        weakref.finalize(result, journal.close)
        return result

    def _run_all(self, questions: QuestionSet, journal: Journal, path: Path | None) -> RunResult:
        count = len(questions)
        ledgers = [Ledger(c.label, journal, self._metrics, count) for c in self._contenders]
        errors: dict[str, VqaEngineError] = {}
        for contender, ledger in zip(self._contenders, ledgers, strict=True):
            self._observer.started(ledger.label, ledger.progress())
            if not ledger.finished:
                self._run_one(contender, questions, ledger, journal, errors)
        if len(errors) == len(self._contenders):
            raise next(iter(errors.values()))
        return RunResult(
            directory=path,
            scores={ledger.label: ledger.scores() for ledger in ledgers},
            tallies={ledger.label: journal.tally(ledger.label) for ledger in ledgers},
            errors=errors,
            journal=journal if path is None else None,
        )

    def _run_one(
        self,
        contender: Contender,
        questions: QuestionSet,
        ledger: Ledger,
        journal: Journal,
        errors: dict[str, VqaEngineError],
    ) -> None:
        self.close()  # a model that `ask` left loaded was not loaded under this journal
        self._journal = journal
        try:
            session = self._hold(contender)
            for position, row, events in self._put(session, self._todo(questions, ledger), ledger):
                self._take(ledger, position, row, events)
        except (RunError, QuestionSetError):
            raise  # these concern the whole run, not this adapter
        except VqaEngineError as error:
            errors[contender.label] = error
            if len(self._contenders) > 1:  # a lone one's error is raised
                self._observer.failed(contender.label, error)
        finally:
            self.close()
            ledger.abandon()  # the process lives, so what was in flight did not kill it
            journal.flush()
            self._journal = None

    def _todo(self, questions: QuestionSet, ledger: Ledger) -> Iterator[tuple[int, Question]]:
        """What is still to be asked, image by image."""
        for position, question in by_image(questions):
            if ledger.has(question):
                continue
            if self._isolation == "inline" and ledger.deaths(question) >= MAX_DEATHS:
                self._take(ledger, position, _given_up(ledger.label, question), ())
            else:
                yield position, question

    def _put(
        self,
        resident: _Resident,
        pairs: Iterator[tuple[int, Question]],
        ledger: Ledger | None = None,
    ) -> Iterator[tuple[int, Row, tuple[MemoryEvent, ...]]]:
        """Put questions to a model, as many at once as its adapter takes."""
        window: deque[tuple[int, Question]] = deque()
        while True:
            entering = list(islice(pairs, self._reach(resident, ledger) - len(window)))
            window.extend(entering)
            if not window:
                return
            if ledger is not None:
                ledger.begin(question for _, question in entering)
            upcoming = [question for _, question in window]
            answered, gone = _ask(resident, upcoming, self._plan), ""
            self._tell_notes()
            for row, events in answered:
                position, _question = window.popleft()
                if row.failure is not None and row.failure.cause == "gone":
                    gone = row.failure.message
                else:
                    yield position, row, events
            if gone:
                raise BackendGone(gone)  # what has no row stays open

    def _reach(self, resident: _Resident, ledger: Ledger | None) -> int:
        """Questions in flight at one time.

        Where a death takes this whole process, what was in flight then goes one by one: so
        no question is given up for another's sake.
        """
        alone = self._isolation == "inline" and ledger is not None and ledger.suspects
        return 1 if alone else resident.reach

    def _take(
        self, ledger: Ledger, position: int, row: Row, events: tuple[MemoryEvent, ...]
    ) -> None:
        """Record a row, and tell of it."""
        ledger.add(position, row, events)
        for event in events:
            self._observer.memory(ledger.label, event)
        self._observer.answered(row, ledger.progress())

    def _named(self, label: str | None) -> Contender:
        for contender in self._contenders:
            if label in {None, contender.label}:
                return contender
        known = ", ".join(c.label for c in self._contenders)
        raise ConfigurationError(f"This engine has no adapter {label!r}; it has: {known}.")

    def _hold(self, contender: Contender) -> _Resident:
        """The contender's session, loaded; any other model is let go first."""
        if self._resident is not None and self._resident.contender is contender:
            return self._resident
        self.close()
        self._observer.loading(contender.label)
        session = self._session(contender)
        try:
            loaded = session.load()
        except BaseException:
            session.release()
            raise
        finally:
            self._tell_notes()
        self._resident = _Resident(contender, session, loaded.reach)
        self._note(contender.label, loaded.events)
        self._observer.loaded(contender.label, loaded)
        self._advise(contender.label, loaded.advice)
        return self._resident

    def _session(self, contender: Contender) -> Session:
        def heard(note: Note) -> None:
            self._heard.append((contender.label, note))

        if self._isolation == "process" and contender.portable:
            return WorkerSession(
                contender.spec,
                log_directory=self._logs,
                policy=self._policy,
                timeouts=self._timeouts,
                library=self._library(contender),
                on_note=heard,
            )
        if self._isolation == "process":
            log.warning("%s lives in this process alone, so it runs inline", contender.label)
        return LocalSession(
            contender.make(),
            contender.spec.model,
            self._policy,
            library=self._library(contender),
            on_note=heard,
        )

    def _library(self, contender: Contender) -> Path | None:
        return None

    def _advise(self, label: str, advice: str) -> None:
        """Give a piece of advice, once however many models it concerns."""
        if advice and advice not in self._advised:
            self._advised.add(advice)
            note = Note(logger=__name__, level=logging.WARNING, text=advice)
            self._observer.note(label, note)

    def _tell_notes(self) -> None:
        """Tell, in the engine's thread, what was logged in whichever."""
        while self._heard:
            self._observer.note(*self._heard.popleft())

    def _note(self, label: str, events: tuple[MemoryEvent, ...]) -> None:
        """Journal and tell memory events that belong to no question."""
        if self._journal is not None:
            self._journal.record_events(label, events)
        for event in events:
            self._observer.memory(label, event)


def _snapshot(image: ImageSource) -> ImageSource:
    """A PIL image as it is now: a worker takes the same object for the same picture."""
    return image if isinstance(image, (Path, bytes)) else image.copy()


def _ask(
    resident: _Resident, upcoming: Sequence[Question], plan: GenerationPlan
) -> list[tuple[Row, tuple[MemoryEvent, ...]]]:
    started = perf_counter()
    replies = resident.session.answers(upcoming, plan)
    seconds = (perf_counter() - started) / len(replies)
    return [
        (_row(resident.contender.label, question, reply, plan, seconds), reply.events)
        for question, reply in zip(upcoming, replies, strict=False)
    ]


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


def _given_up(label: str, question: Question) -> Row:
    message = f"the whole process died {MAX_DEATHS} times while this question was in flight"
    return Row(adapter=label, question=question, failure=Failure(cause="killed", message=message))
