"""The one model that an engine keeps loaded when it was given no places."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, Question, Transfer
from vqa_engine.crew.place import Terms
from vqa_engine.crew.rows import Record
from vqa_engine.crew.single import Begun, Single
from vqa_engine.observer import Observer
from vqa_engine.plugins.resolution import ResolvedAdapter
from vqa_engine.results import Loaded, MemoryEvent, Note, Reply
from vqa_engine.runs.account import Account
from vqa_engine.session.protocol import Session
from vqa_engine.worker import WorkerSession

log = logging.getLogger(__name__)

Isolation = Literal["process", "inline"]

MOST_NOTES = 1000
"""Log records that wait to be reported, the latest; an adapter's thread may log without end."""


@frozen
class _Held:
    adapter: ResolvedAdapter
    session: Session
    loaded: Loaded


class Holder:
    """Keeps one model loaded at a time, in a worker or in this process, and asks it.

    `keep` records memory events that belong to no question, `on_loaded` hears of each model
    that is ready. With `elsewhere` the session is
    opened by that, at a place, and not here.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        plan: GenerationPlan,
        isolation: Isolation,
        observer: Observer,
        *,
        keep: Callable[[str, tuple[MemoryEvent, ...]], None],
        on_loaded: Callable[[str, Loaded], None],
        elsewhere: Callable[[Terms], Session] | None = None,
    ) -> None:
        self._plan, self._isolation, self._observer = plan, isolation, observer
        self._keep, self._on_loaded, self._elsewhere = keep, on_loaded, elsewhere
        self._held: _Held | None = None
        self._notes: deque[tuple[str, Note]] = deque(maxlen=MOST_NOTES)
        self._begun = Begun()

    def ask(
        self,
        adapter: ResolvedAdapter,
        terms: Terms,
        question: Question,
        settings: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Ask one question, with settings of its own; the model stays loaded for the next.

        Raises:
            ConfigurationError: the settings are not those of a plan; no model is loaded.
            VqaEngineError: the model cannot be loaded.
        """
        spec = evolve(terms.spec, settings={**terms.spec.settings, **(settings or {})})
        asked = spec.planned(self._plan)
        held = self._hold(adapter, terms)
        plan = held.loaded.planned(asked)
        [(_, reply)] = held.session.ask([question], plan)
        self._report_notes()
        return reply

    def ask_all(
        self,
        adapter: ResolvedAdapter,
        terms: Terms,
        pairs: Iterator[tuple[int, Question]],
        account: Account | None = None,
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Record]:
        """The record of each question, as they come; see `Single.ask_all`."""
        held = self._hold(adapter, terms)
        self._begun = Begun(account)
        return Single(
            label=adapter.label,
            session=held.session,
            window=held.loaded.window,
            plan=held.loaded.planned(terms.spec.planned(self._plan)),
            begun=self._begun,
            account=account,
            inline=self._isolation == "inline",
            after_each=self._report_notes,
            stopped=stopped,
        ).ask_all(pairs)

    def let_go(self) -> None:
        """Release the model; twice is safe."""
        held, self._held = self._held, None
        if held is None:
            return
        released = held.session.release()
        self._report_notes()
        self._keep(held.adapter.label, released.events)
        self._observer.released(held.adapter.label, released)

    def forget_account(self) -> None:
        """Journal no more of what is begun."""
        self._begun = Begun()

    def _hold(self, adapter: ResolvedAdapter, terms: Terms) -> _Held:
        """The adapter's session, loaded; any other model is let go first."""
        if self._held is not None and self._held.adapter is adapter:
            return self._held
        self.let_go()
        self._observer.loading(adapter.label)
        session = self._session(adapter, terms)
        try:
            loaded = session.load()
        except BaseException:
            session.release()
            raise
        finally:
            self._report_notes()
        self._held = _Held(adapter, session, loaded)
        self._keep(adapter.label, loaded.events)
        self._on_loaded(adapter.label, loaded)
        return self._held

    def _session(self, adapter: ResolvedAdapter, terms: Terms) -> Session:
        def heard(note: Note) -> None:
            self._notes.append((adapter.label, note))

        def fetching(transfer: Transfer) -> None:
            self._observer.fetching(adapter.label, transfer)

        if self._elsewhere is not None:
            return self._elsewhere(evolve(terms, on_note=heard))
        if self._isolation == "process" and adapter.portable:
            return WorkerSession(
                terms.spec,
                log_directory=terms.logs,
                policy=terms.policy,
                timeouts=terms.timeouts,
                on_begun=self._on_begun,
                on_note=heard,
                on_transfer=fetching,
            )
        if self._isolation == "process":
            log.warning("%s lives in this process alone, so it runs inline", adapter.label)
        from vqa_engine.session.local import LocalSession  # brings what only a worker needs

        return LocalSession(
            adapter.make(),
            terms.spec.model,
            terms.policy,
            label=adapter.label,
            on_begun=self._on_begun,
            on_note=heard,
            on_transfer=fetching,
        )

    def _on_begun(self, questions: Sequence[Question]) -> None:
        self._begun(questions)

    def _report_notes(self) -> None:
        """Report, in the caller's thread, what was logged in whichever."""
        while self._notes:
            self._observer.note(*self._notes.popleft())
