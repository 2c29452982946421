"""The protocols that an adapter implements: four methods, and seven options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from vqa_engine.adapter.memory import MemoryProfile, QuestionCost
from vqa_engine.adapter.records import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    ModelFacts,
    ModelRef,
    Question,
    Trace,
    Transfer,
)
from vqa_engine.errors import VqaEngineError


@runtime_checkable
class ModelAdapter(Protocol):
    """One model behind the engine's four calls.

    The engine makes the calls from one thread, in the order `load`, `answer` any
    number of times, `release`. Importing the module and creating the object must stay
    cheap: the model library is imported by `load`.
    """

    @abstractmethod
    def load(self, model: ModelRef) -> None:
        """Load the checkpoint.

        Raises:
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
        """

    @abstractmethod
    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question, obeying the plan.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: the backend said so; the answer and its state are discarded.
        """

    @abstractmethod
    def release(self) -> None:
        """Let go of the model and of all it holds; calling it twice is safe."""

    @abstractmethod
    def memory_profile(self) -> MemoryProfile:
        """What this model needs; callable before `load` and after."""


def images_per_question(adapter: ModelAdapter) -> int:
    """The most images that an adapter takes with one question.

    It is the adapter's attribute of this name; an adapter without one takes a single image.
    """
    return int(getattr(adapter, "images_per_question", 1))


def default_checkpoint(adapter: ModelAdapter) -> tuple[str | None, str | None]:
    """The model that an adapter loads when none is named, and its revision, as far as it says.

    They are its attributes `default_model`, a name or a `ModelRef`, and `default_revision`.
    """
    model = getattr(adapter, "default_model", None)
    named = model.model if isinstance(model, ModelRef) else model
    found = (named, getattr(adapter, "default_revision", None))
    name, revision = (one if isinstance(one, str) else None for one in found)
    return name, revision


@runtime_checkable
class CostAware(Protocol):
    """An adapter that can say what questions cost before they run. Optional."""

    @abstractmethod
    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """The cost of these questions together, as if they were one question.

        One question is the usual case; several are asked about only of a `BatchAdapter`,
        and are those that go together (`batch_size`). What they share counts once. Called
        after `load`, and cheap. `prefill_step` and `encoder_batch` may not change the cost:
        the engine asks once for all plans that differ in nothing else.

        Raises:
            ImageError: an image cannot be used.
        """


@runtime_checkable
class Sizable(Protocol):
    """An adapter that knows a checkpoint's needs without loading weights. Optional."""

    @abstractmethod
    def profile_of(self, model: ModelRef) -> MemoryProfile:
        """What the checkpoint needs, from its configuration and headers alone.

        Importing the model library is not allowed here: the host calls it.

        Raises:
            CheckpointError: its files cannot be reached or read.
        """


@runtime_checkable
class ModelAware(Protocol):
    """An adapter that runs several kinds of models and can tell them apart. Optional."""

    @abstractmethod
    def facts_of(self, model: ModelRef) -> ModelFacts:
        """What is known of the model, from its configuration alone.

        A checkpoint that cannot be reached is no error here: then it is what holds for all.
        Importing the model library is not allowed here: the host calls it.
        """


def facts_of(adapter: ModelAdapter, model: ModelRef) -> ModelFacts:
    """What an adapter says of a model before it is loaded."""
    if isinstance(adapter, ModelAware):
        return adapter.facts_of(model)
    return ModelFacts(images=images_per_question(adapter))


@runtime_checkable
class Fetchable(Protocol):
    """An adapter whose checkpoints come from elsewhere. Optional.

    The engine fetches before it loads, and counts only the loading against its time limit.
    """

    @abstractmethod
    def fetch(self, model: ModelRef, report: Callable[[Transfer], None]) -> None:
        """Bring the checkpoint to this machine, unless it is here.

        `report` hears now and then how far it is. What was interrupted should be continued.
        Importing the model library is not allowed here: the host may call it.

        Raises:
            CheckpointError: its files cannot be reached or stored.
        """


@runtime_checkable
class Traceable(Protocol):
    """An adapter that can show what its model is given. Optional."""

    @abstractmethod
    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question that was just answered under this plan.

        Raises:
            ImageError: the question's image cannot be used.
        """


@runtime_checkable
class ChoiceScorer(Protocol):
    """An adapter that can say how likely each option of a question is. Optional.

    The engine asks it about questions with choices when the plan's `choose` is set: it has the
    options' letters or texts scored, and the likeliest is the answer.
    """

    @abstractmethod
    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        """The log-likelihood of each of `options` as the answer to `question`.

        An option follows the prompt that `answer` would use, behind a space unless that prompt
        ends with white space, and nothing follows it: no end token is scored. The question's
        `choices` are in its prompt, as `answer` has them. Probabilities are the model's own,
        whatever the plan's temperature.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: the backend said so; what was computed is gone.
        """


@runtime_checkable
class BatchChoiceScorer(ChoiceScorer, Protocol):
    """A `BatchAdapter` that scores the options of several questions together. Optional.

    Its `batch_size` says how many of the questions that come next go together, under a plan
    whose `choose` is set; all of those have choices.
    """

    @abstractmethod
    def score_choices_batch(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        plan: GenerationPlan,
    ) -> Sequence[ChoiceScores | VqaEngineError]:
        """What `score_choices` gives for each question and its options, in their order.

        The error of a question that concerns it alone comes in its place.

        Raises:
            OutOfMemory: together they do not fit; one by one they may.
            VqaEngineError: another fault that concerns them all.
        """


@runtime_checkable
class CacheHolder(Protocol):
    """An adapter that keeps something between questions on purpose. Optional.

    A prefix cache per image is the usual case. What is declared here is not a leak,
    and the governor may ask for it back.
    """

    @abstractmethod
    def cached_bytes(self) -> int:
        """Bytes of arrays kept on purpose, to the byte; called after each question."""

    @abstractmethod
    def drop_caches(self) -> None:
        """Let go of all of them; the next answers are the same, only slower."""


@runtime_checkable
class BatchAdapter(Protocol):
    """An adapter that answers several questions together, or prepares the next one. Optional.

    Which questions go together is the adapter's decision, so the engine needs no rule of its
    own: leading questions about one image that are decoded as one batch, rows of a padded
    batch, or as many requests as a server takes. An adapter that only prepares the next image
    while it answers says 1.

    The engine asks such an adapter through `answer_batch` alone, also for a single question:

    1. It offers the questions that come next, `upcoming`, in the order they are to be asked.
    2. `batch_size` says how many of them, from the first on, go together.
    3. `answer_batch` answers exactly those, under one plan. Each outcome is at its
       question's place: an answer, or the error that concerns that question alone. The
       fault of one question never costs another its answer.
    4. What concerns all of them (out of memory, a lost device) is raised. Then none has an
       answer, and each is asked again by itself.

    Both calls come from the thread that makes all the others. Threads that an adapter starts
    answer nothing after `answer_batch` has returned; one may still prepare the next image.
    All questions of a batch are in flight at once: if the process dies, none is answered.
    The answers are those of one question at a time, token for token where the backend can
    promise it.
    """

    @abstractmethod
    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of `upcoming`, from the first on, `answer_batch` takes at once.

        At least 1 and at most all of them. Called after `load`; opens no image and changes
        nothing.
        """

    @abstractmethod
    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        """One outcome for each question, in their order.

        `following` is the question that comes next, None when nobody knows: its image may be
        prepared meanwhile. Whatever is wrong with it is reported when it is asked.

        Raises:
            OutOfMemory: together they do not fit; one by one they may.
            VqaEngineError: another fault that concerns them all.
        """
