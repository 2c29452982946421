"""Feeding one session, in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from attrs import define, field

from vqa_engine.adapter import GenerationPlan, Question, QuestionId
from vqa_engine.crew.rows import MAX_DEATHS, Record, given_up, gone, rows
from vqa_engine.errors import BackendGone
from vqa_engine.runs.account import Account
from vqa_engine.session.protocol import Session


class Begun:
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


@define(kw_only=True)
class Single:
    """Puts questions to a loaded session, as many at once as its adapter takes.

    `window` is how many that is. `begun` is what the session calls. `inline` says that a
    death takes this whole process: then what was in flight goes one by one, so that no
    question is given up for another's sake. `after_each` is called after each exchange. Once
    `stopped` says so, no more is asked.
    """

    label: str
    session: Session
    window: int
    plan: GenerationPlan
    begun: Begun = field(factory=Begun)
    account: Account | None = None
    inline: bool = False
    after_each: Callable[[], None] = lambda: None
    stopped: Callable[[], bool] = lambda: False

    def ask_all(self, pairs: Iterator[tuple[int, Question]]) -> Iterator[Record]:
        """The records of all questions, as they come.

        Raises:
            BackendGone: once all others have their rows; what has none stays open.
            VqaEngineError: as `Session.ask` does.
        """
        pending: dict[int, tuple[int, Question]] = {}
        while not self.stopped():
            while len(pending) < self._size() and (pair := next(pairs, None)) is not None:
                if self._is_given_up(pair[1]):
                    yield pair[0], given_up(self.label, pair[1], "the whole process"), ()
                else:
                    pending[id(pair[1])] = pair
            if not pending:
                return
            yield from self._ask(pending)
            self.after_each()

    def _ask(self, pending: dict[int, tuple[int, Question]]) -> Iterator[Record]:
        if self.account is not None and self.window > 1:
            self.account.commit()  # a batch begins before its worker's host hears of it
        started = perf_counter()
        settled = self.session.ask([question for _, question in pending.values()], self.plan)
        seconds = perf_counter() - started
        for question, row, events in rows(self.label, settled, self.plan, seconds):
            position, _ = pending.pop(id(question))
            self.begun.forget(question)
            yield position, row, events
        if failure := gone(settled):
            raise BackendGone(failure.message)

    def _size(self) -> int:
        return 1 if self._suspects() else self.window

    def _is_given_up(self, question: Question) -> bool:
        """Where a death takes this whole process, a question gets as many tries as workers."""
        account = self._suspects()
        return account is not None and account.deaths(question) >= MAX_DEATHS

    def _suspects(self) -> Account | None:
        """The account, as long as questions are open that a death may be held against."""
        return self.account if self.inline and self.account and self.account.suspects else None
