"""A session in this process: no boundary, the same loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.errors import VqaEngineError, WorkerError
from vqa_engine.failures import NOT_A_MODELS, describe, traced
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Loaded, MemoryEvent, Note, Released
from vqa_engine.session.host import Host, Limits
from vqa_engine.session.protocol import Exchange, OnBegun, OnTransfer
from vqa_engine.session.resident import Resident
from vqa_engine.session.wording import said


class LocalSession(Host):
    """A session over an adapter object in this process.

    What would need a fresh worker elsewhere is met by a release and a second load. The death
    of the process cannot be survived here.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        adapter: ModelAdapter,
        model: ModelRef,
        policy: MemoryPolicy | None = None,
        *,
        label: str | None = None,
        limits: Limits | None = None,
        on_begun: OnBegun = lambda _questions: None,
        on_note: Callable[[Note], None] = lambda _note: None,
        on_transfer: OnTransfer = lambda _transfer: None,
    ) -> None:
        name = label or type(adapter).__name__
        policy = policy or MemoryPolicy()
        resident = Resident(adapter, model, policy, on_note=on_note, on_transfer=on_transfer)
        place = _InProcess(name, resident)
        super().__init__(name, place, limits=limits, lossy=policy.lossy, on_begun=on_begun)


class _InProcess:
    """A place in this process."""

    def __init__(self, label: str, resident: Resident) -> None:
        self._label, self._resident = label, resident
        self._window: dict[int, tuple[Question, Question]] = {}

    @property
    def alive(self) -> bool:
        return self._resident.loaded

    def start(self, *, again: bool = False) -> Loaded:
        try:
            return self._resident.load()
        except Exception as error:
            if isinstance(error, VqaEngineError) and not isinstance(error, NOT_A_MODELS):
                raise
            raise cannot_load(self._label, error) from error

    def ask(
        self, upcoming: Sequence[Question], limit: int, plan: GenerationPlan, on_begun: OnBegun
    ) -> Exchange:
        self._window = {id(one): self._window.get(id(one)) or _bare(one, plan) for one in upcoming}
        bare = [self._window[id(one)][1] for one in upcoming]
        return self._resident.ask(bare, limit, plan, lambda begun: on_begun(upcoming[: len(begun)]))

    def stop(self, *, politely: bool) -> tuple[MemoryEvent, ...]:
        return self._resident.unload()

    def close(self) -> Released:
        self._window = {}
        return self._resident.release()


def _bare(question: Question, plan: GenerationPlan) -> tuple[Question, Question]:
    """The question, kept so that its identity stays its own, and what the adapter gets of it."""
    return question, asked_of_model(question, plan)


def asked_of_model(question: Question, plan: GenerationPlan) -> Question:
    """The question as a model may see it: worded, and without what only scoring needs."""
    text, worded = said(question, plan)
    return Question(
        question_id=question.question_id,
        image=question.image,
        images=question.images,
        text=text,
        choices=question.choices,
        worded=worded,
        origin=question.origin,
        image_root=question.image_root,
    )


def cannot_load(label: str, error: Exception) -> WorkerError:
    """The error for an adapter whose `load` raised something of its own."""
    failure = describe(error)
    return WorkerError(
        f"The adapter {label!r} could not load its model: {failure.message}",
        label=label,
        cause=failure.cause,
        detail=traced(error),
    )
