"""Questions of one loaded model asked in batches: made ready ahead, halved where too many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

from attrs import evolve

from vqa_engine.adapter import GenerationPlan, Question, QuestionCost
from vqa_engine.errors import ContextExceeded, OutOfMemory, VqaEngineError
from vqa_engine.failures import classify, forget
from vqa_engine_adapters.context import answer_tokens
from vqa_engine_adapters.continuing import rows, within
from vqa_engine_adapters.growth import Growth
from vqa_engine_adapters.torch import batches, trial
from vqa_engine_adapters.torch.ahead import Ahead, Order
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.pool import sweep
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, check_room

log = logging.getLogger(__name__)

_ROWS = 128
"""Rows at most. Five questions per picture cost a GPU a quarter of what one does, so the
launches of a step, the same for any number of rows, weigh on them longest."""

PICTURES = 32
"""Pictures up to which a batch grows whatever it brings: on a GPU a step of decoding costs the
same launches for one row as for 32 (docs/facts/gpu.md), and small batches are noisy to time."""

Outcome = TypeVar("Outcome")

Asked = Sequence[tuple[Question, Prepared]]
"""Questions that can be asked, each made ready."""

Make = Callable[[Asked, GenerationPlan], Sequence[Outcome]]
"""What computes the outcome of each, all of them together."""

Prompt = Callable[[Question, str | None], str]
"""The prompt of a question, with a plan's system text."""


class Asking:
    """How many go together is learned from batch to batch, up to `most` rows (None: `_ROWS`)."""

    def __init__(
        self, loaded: Loaded, prompt: Prompt, order: Order, prefixes: Prefixes, most: int | None
    ) -> None:
        self.loaded, self.prefixes = loaded, prefixes
        self._system: str | None = None
        self._upcoming: Sequence[Question] = ()
        self._ahead = Ahead(loaded, lambda one: prompt(one, self._system), order, prefixes)
        self._each = batches.EACH if loaded.steps is not None else 1
        alone = most == 1 or not trial.passed(loaded, self._tried)
        self.rows = 1 if alone else most or _ROWS
        self._growth = Growth(self.rows, PICTURES)

    def possible(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan without what this model cannot do; the answer records it like that."""
        plan = evolve(plan, kv_bits=None)
        steps = self.loaded.steps is not None
        return plan if steps else evolve(plan, prefill_step=None, encoder_batch=None)

    def size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """As many as fit and pay; a picture's questions stay together where they can."""
        self._upcoming, self._system = upcoming, plan.system
        if plan.temperature and self.loaded.steps is None:
            return 1  # `generate` draws for all rows from one generator
        count = batches.together(upcoming, self._growth.size, self._each, self.rows)
        return within(upcoming[:count], plan, self.rows)

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """What the questions cost together; what it took to know is not done again.

        Raises:
            ImageError: the one question's image cannot be used.
            AnswerError: no question can be asked.
        """
        self._system = plan.system
        outcomes = self._prepared(questions, self.possible(plan))
        askable = [
            one
            for question, one in zip(questions, outcomes, strict=True)
            if isinstance(one, Prepared)
            for _ in range(rows(question, plan))
        ][: max(self.rows, len(questions))]
        if not askable:
            raise next(one for one in outcomes if isinstance(one, VqaEngineError))
        return batches.cost(askable, plan)

    def outcomes(
        self, questions: Sequence[Question], plan: GenerationPlan, make: Make[Outcome]
    ) -> list[Outcome | VqaEngineError]:
        """What `make` makes of the questions that can be asked, and the errors of the others.

        Half of them at a time where they do not fit. The pictures of those that come next are
        prepared on threads meanwhile.

        Raises:
            OutOfMemory: not even one of them fits.
            BackendError, AnswerError: what concerns them all.
        """
        self._system = plan.system
        try:
            return self._halved(questions, self.possible(plan), make)
        finally:
            self._ahead.forget(questions)

    def drop(self) -> None:
        """Let go of the prefixes, and of what leans on one."""
        self.prefixes.clear()
        self._ahead.forget_reused()

    def close(self) -> None:
        """Let go of everything, and end the threads."""
        self.drop()
        self._ahead.close()
        self._upcoming = ()

    def _halved(
        self, questions: Sequence[Question], plan: GenerationPlan, make: Make[Outcome]
    ) -> list[Outcome | VqaEngineError]:
        try:
            return self._together(questions, plan, make)
        except OutOfMemory:
            if len(questions) == 1:
                raise
        # Here the error is gone, and with it what its frames held.
        sweep()
        half = len(questions) // 2
        self.rows = min(self.rows, half)
        log.info("%d questions did not fit together; trying half of them", len(questions))
        first = self._halved(questions[:half], plan, make)
        return first + self._halved(questions[half:], plan, make)

    def _together(
        self, questions: Sequence[Question], plan: GenerationPlan, make: Make[Outcome]
    ) -> list[Outcome | VqaEngineError]:
        """What cannot be asked is an error at its place; the rest is answered together."""
        outcomes = self._prepared(questions, plan)
        pairs = zip(questions, outcomes, strict=True)
        asked = [(question, one) for question, one in pairs if isinstance(one, Prepared)]
        started = perf_counter()
        try:
            made = iter(make(asked, plan) if asked else ())
        except Exception as error:
            forget(error)
            self.drop()
            raise classify(error, "transformers") from error
        seconds = perf_counter() - started
        self._growth.answered(batches.size([one for one, _ in asked], self._each), seconds)
        return [next(made) if isinstance(one, Prepared) else one for one in outcomes]

    def _prepared(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> list[Prepared | VqaEngineError]:
        """These questions made ready, and the pictures of the next ones begun."""
        outcomes = self._ahead.ready(questions, plan.image_longest_edge)
        self._ahead.offer(self._upcoming, plan.image_longest_edge)
        pairs = zip(questions, outcomes, strict=True)
        return [self._short(one, answer_tokens(question, plan)) for question, one in pairs]

    def _short(self, outcome: Prepared | VqaEngineError, room: int) -> Prepared | VqaEngineError:
        """The same, or that the model does not read so much."""
        try:
            if isinstance(outcome, Prepared):
                check_room(self.loaded, outcome, room)
        except ContextExceeded as error:
            return error
        return outcome

    def _tried(self, questions: Sequence[Question]) -> list[Prepared]:
        """The questions of the self-check made ready."""
        outcomes = self._ahead.ready(questions, None)
        self._ahead.forget(questions)
        return [one for one in outcomes if isinstance(one, Prepared)]
