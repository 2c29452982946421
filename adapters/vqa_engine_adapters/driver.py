"""What the drivers of all libraries do alike; each adapter on one of them names a `Family`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from vqa_engine.adapter import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelFacts,
    ModelRef,
    Question,
    Transfer,
)
from vqa_engine.errors import AnswerError, VqaEngineError
from vqa_engine_adapters.checkpoints.checkpoint import fetch
from vqa_engine_adapters.checkpoints.facts import facts_of
from vqa_engine_adapters.context import Context
from vqa_engine_adapters.continuing import option_ids
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.interleaving import order
from vqa_engine_adapters.options import Wording
from vqa_engine_adapters.plain import Plain


class Driver(ModelAdapter):
    """An adapter for the checkpoints of its `family`, which it asks several questions at once."""

    family: ClassVar[Family]

    def __init__(self) -> None:
        self._family = self.family
        self._profile = self.family.estimate
        self._options, self._plain, self._context = Wording(), Plain.of(None), Context()

    @property
    def model_types(self) -> tuple[str, ...]:
        """The `config.json` types of the checkpoints that it runs, empty for all."""
        return self.family.model_types

    @property
    def default_model(self) -> str | None:
        """The hub id of the checkpoint that is loaded when none is named."""
        return self.family.model

    @property
    def images_per_question(self) -> int:
        """The most images that the loaded model handles with one question."""
        return self._family.images

    def facts_of(self, model: ModelRef) -> ModelFacts:
        """The family of a checkpoint, and how many images it handles, from its configuration."""
        return facts_of(self.family, model)

    def memory_profile(self) -> MemoryProfile:
        """What the loaded checkpoint needs, or an estimate for the default one."""
        return self._profile

    def fetch(self, model: ModelRef, report: Callable[[Transfer], None]) -> None:
        """Bring the checkpoint to this machine, unless it is here; imports no model library.

        Raises:
            CheckpointError: it cannot be reached or stored.
        """
        fetch(self.family, model, report)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question, obeying the plan as far as the model can.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: the library said so. As after every error, what the question had
                computed is gone and the next question starts afresh.
            BackendError: the device failed.
            AnswerError: nothing is loaded, or this one question failed.
        """
        (outcome,) = self.answer_batch((question,), plan, None)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        """The log-likelihood of each option as the answer, all behind one prefix.

        Raises:
            ImageError, OutOfMemory, BackendError, AnswerError: as `answer`.
        """
        (outcome,) = self.score_choices_batch((question,), (options,), plan)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

    @abstractmethod
    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> list[Answer | VqaEngineError]:
        """An outcome for each of these questions (`vqa_engine.adapter.BatchAdapter`)."""

    @abstractmethod
    def score_choices_batch(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        plan: GenerationPlan,
    ) -> list[ChoiceScores | VqaEngineError]:
        """Scores for each of these questions (`vqa_engine.adapter.BatchChoiceScorer`)."""

    @abstractmethod
    def _ready(self) -> Any:
        """What was loaded, with its `tokenizer`.

        Raises:
            AnswerError: nothing was.
        """

    def _text(self, question: Question) -> str:
        """What the model is asked: the question with the texts around it.

        Raises:
            ContextExceeded: it is too long to be tokenised.
        """
        self._context.admit(question)
        given = self._options
        return self._family.ask(self._plain.question(question), given.instruction, given.before)

    def _order(self, question: Question) -> list[int]:
        """The question's images in the order in which its prompt has them."""
        return order(self._text(question), len(question.all_images))

    def _option_ids(
        self, prompt: str, options: Sequence[str]
    ) -> list[tuple[int, ...]] | AnswerError:
        """The ids of a question's options behind its prompt, or why they have none."""
        try:
            return option_ids(self._ready().tokenizer, prompt, [*map(self._plain, options)])
        except AnswerError as error:
            return error

    def _answer(
        self,
        question: Question,
        generated: Generated,
        plan: GenerationPlan,
        prompt: str,
        image_size: tuple[int, int],
    ) -> Answer:
        """The record of what was generated for a question."""
        text = self._ready().tokenizer.decode(list(generated.ids), skip_special_tokens=True)
        brief = self._options.instruction is None and not question.worded
        return Answer(
            text=self._family.clean(text, brief=brief),
            plan=plan,
            token_ids=generated.ids,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            timings=generated.timings,
            logprob=generated.logprob,
            prompt=prompt,
            image_size=image_size,
        )
