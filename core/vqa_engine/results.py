"""What comes back up: an answer or a failure for each question, and what memory did."""

from __future__ import annotations

from typing import Literal, Self

from attrs import evolve, frozen

from vqa_engine.adapter import (
    NO_EDGE,
    Answer,
    GenerationPlan,
    MemoryProfile,
    MemoryReading,
    Question,
)

Cause = Literal[
    "image",
    "too_long",
    "out_of_memory",
    "refused",
    "too_big",
    "handle_limit",
    "watchdog",
    "killed",
    "crashed",
    "hung",
    "exited",
    "backend",
    "gone",
    "adapter",
    "python",
]
"""Why a question failed (docs/facts/memory.md, "Texts to classify"). `too_long` has more tokens
than the model's context. `refused` is the
governor's word that no plan fits, so that trying again would be no use. `gone` concerns
every question: it ends the run of its adapter and is no row of its own."""


BUDGET = "budget"
"""The strategy of the event that says how many bytes a model may hold: its call is
`budget(BYTES)`."""


@frozen(kw_only=True)
class MemoryEvent:
    """One thing the engine did about memory.

    `call` is the backend call that was made, `freed` the bytes it gave back (negative
    when it grew), `seconds` how long it took. `question_id` is None outside a question.
    `detail` is a sentence for the reader, where there is more to say.
    """

    strategy: str
    call: str
    freed: int = 0
    seconds: float = 0.0
    question_id: int | str | None = None
    detail: str = ""


@frozen(kw_only=True)
class Note:
    """Something that was logged while a model was loaded, by the engine or its adapter.

    `level` is a number of the module logging: 20 is info, 30 a warning.
    """

    logger: str
    level: int
    text: str


LeakKind = Literal["unknown", "steady", "warm-up", "cycles", "leak", "outside"]


@frozen(kw_only=True)
class LeakVerdict:
    """What the memory audit says of one loaded model.

    `warm-up` grew and then stayed, `cycles` is what only the garbage collector gives
    back, `leak` rises in the allocator and `outside` beside it, `unknown` had too few
    questions. `rate` is bytes per question, `grown` bytes from the first floor to the
    last, `text` a sentence.
    """

    kind: LeakKind = "unknown"
    rate: float = 0.0
    grown: int = 0
    text: str = ""

    @property
    def leaks(self) -> bool:
        """Whether it would go on for ever."""
        return self.kind in {"leak", "outside"}


@frozen(kw_only=True)
class MemoryPrediction:
    """What a question was expected to need above the floor, and what it did need.

    `expected` is the estimate and `bound` the estimate with its one-sided margin,
    `truth` the measured peak less the floor, None when it was not measured. All bytes.
    """

    expected: int
    bound: int
    truth: int | None = None
    prompt_tokens: int = 0
    image_tiles: int = 0


@frozen(kw_only=True)
class Attempt:
    """One try at a question that did not give an answer: the plan, and what happened."""

    plan: GenerationPlan
    cause: Cause
    message: str


@frozen(kw_only=True)
class Failure:
    """Why a question has no answer.

    `message` is one sentence, `reason` what all failures of this sort share (the message
    itself when empty), `detail` a traceback or a tail of stderr, `attempts` every try,
    oldest first.
    """

    cause: Cause
    message: str
    reason: str = ""
    detail: str = ""
    attempts: tuple[Attempt, ...] = ()


@frozen(kw_only=True)
class Reply:
    """What a session says of one question: an answer or a failure, never both.

    `attempts` are the tries that failed before the answer came.
    """

    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    events: tuple[MemoryEvent, ...] = ()
    prediction: MemoryPrediction | None = None


@frozen(kw_only=True)
class Loaded:
    """What a session says after loading: the exact profile, seconds taken, memory.

    `budget` is the bytes that the model may hold, None where nobody knows a limit.
    `window` is how many of the questions that come next the adapter can make use of.
    """

    profile: MemoryProfile
    seconds: float
    memory: MemoryReading
    events: tuple[MemoryEvent, ...] = ()
    budget: int | None = None
    window: int = 1

    def planned(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan with the bound on pictures that the model has of its own.

        A plan that lifts it (`NO_EDGE`) has none afterwards.
        """
        edge = plan.image_longest_edge or self.profile.image_longest_edge
        return evolve(plan, image_longest_edge=None if edge == NO_EDGE else edge)


@frozen(kw_only=True)
class Released:
    """What a session says after releasing: `residue` bytes stay above the floor."""

    residue: int | None
    seconds: float
    events: tuple[MemoryEvent, ...] = ()
    verdict: LeakVerdict = LeakVerdict()


@frozen(kw_only=True)
class Row:
    """One question put to one adapter: the unit of the journal and of every export.

    `seconds` is the wall time the question took, the engine's own share included; those
    that were answered together share it evenly. `degraded` says that the answer came from
    a plan that may change its text, and was not asked for. `place` is the name of the place
    that answered, empty in a run that was given none.
    """

    adapter: str
    question: Question
    answer: Answer | None = None
    failure: Failure | None = None
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    prediction: MemoryPrediction | None = None
    degraded: bool = False
    place: str = ""

    @classmethod
    def of(  # noqa: PLR0913, PLR0917  what makes up a row
        cls,
        adapter: str,
        question: Question,
        reply: Reply,
        asked: GenerationPlan,
        seconds: float,
        place: str = "",
    ) -> Self:
        """The row of a question that was asked with the plan `asked`."""
        return cls(
            adapter=adapter,
            question=question,
            answer=reply.answer,
            failure=reply.failure,
            attempts=reply.attempts,
            seconds=seconds,
            prediction=reply.prediction,
            degraded=reply.answer is not None and _is_lossier(reply.answer.plan, asked),
            place=place,
        )

    @property
    def chosen(self) -> str | None:
        """The text of the option that was chosen by likelihood, None where none was."""
        chosen = None if self.answer is None else self.answer.choice
        return None if chosen is None else self.question.choices[chosen]


def _is_lossier(used: GenerationPlan, asked: GenerationPlan) -> bool:
    """Whether a plan may change the text where the one asked for would not.

    A field that a model cannot obey comes back as None, which loses nothing.
    """
    return used.kv_bits not in {None, asked.kv_bits} or used.image_longest_edge not in {
        None,
        asked.image_longest_edge,
    }
