"""The one driver: every MLX adapter is this class with a `Family` of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import ClassVar

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Question,
    QuestionCost,
    Timings,
    Trace,
)
from vqa_engine.errors import AnswerError, ConfigurationError, VqaEngineError
from vqa_engine.failures import forget
from vqa_engine_adapters.checkpoints.checkpoint import resolve, within_reach
from vqa_engine_adapters.checkpoints.profile import profile, without
from vqa_engine_adapters.continuing import OptionIds
from vqa_engine_adapters.driver import Driver
from vqa_engine_adapters.mlx import chat
from vqa_engine_adapters.mlx.answering import Answering
from vqa_engine_adapters.mlx.asking import Asking
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.loading import Loaded, load, require
from vqa_engine_adapters.mlx.options import Options
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.pieces import small_pieces
from vqa_engine_adapters.mlx.pool import sweep
from vqa_engine_adapters.mlx.tracing import trace
from vqa_engine_adapters.options import read
from vqa_engine_adapters.plain import Plain

log = logging.getLogger(__name__)


class MlxAdapter(Driver):
    """A model on MLX, run through mlx-vlm.

    A subclass names its `family`. All calls come from one thread: MLX's streams belong
    to the thread that made them. From question to question it keeps the prefixes of the
    last few images and nothing else (`vqa_engine_adapters.mlx.reuse`).
    """

    family: ClassVar[MlxFamily]
    _family: MlxFamily

    def __init__(self) -> None:
        super().__init__()
        self._asking: Asking | None = None

    @property
    def options(self) -> type[Options]:
        """The class of its options, which `vqa-engine adapters NAME` lists."""
        return self.family.options

    def load(self, model: ModelRef) -> None:
        """Load the checkpoint; a model loaded before is released first.

        Raises:
            ConfigurationError: `model.options` holds something unknown.
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
            BackendError: MLX or mlx-vlm is not installed, or does not import.
        """
        self.release()
        require()
        given = read(self.family.options, model.options)
        checkpoint = resolve(self.family, model)
        family = self.family.of(checkpoint.config)
        given = read(family.options, model.options)
        checkpoint = family.settled(checkpoint, given)
        try:
            loaded = load(family, checkpoint, model)
        except Exception as error:
            forget(error)
            sweep()
            raise
        chat.drop_blind_template(family, loaded.processor, loaded.config)
        self._begin(loaded, family, given)
        if family.prompt is None and not chat.has_template(loaded):
            log.warning("%s has no chat template: it gets the bare question", checkpoint.name)

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of the first questions are about one image, as far as they go together."""
        return self._ask().size(upcoming, plan)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> list[Answer | VqaEngineError]:
        """Answer questions about one image, together as far as that goes.

        The next image is opened, hashed and cut on a thread meanwhile.

        Raises:
            OutOfMemory: MLX said so. As after every error, what was computed is gone.
            BackendError: MLX failed.
            AnswerError: nothing is loaded, or several questions failed together.
        """
        asking = self._ask()

        def answers(
            prompts: Mapping[int, str], picture: Picture, plan: GenerationPlan
        ) -> dict[int, Answer]:
            return {
                place: self._answer(questions[place], one, plan, prompts[place], picture.image.size)
                for place, one in asking.answering.generate(prompts, picture, plan).items()
            }

        asking.follow(questions[-1], following)
        return asking.outcomes(questions, asking.prompts(questions, plan), plan, answers)

    def score_choices_batch(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        plan: GenerationPlan,
    ) -> list[ChoiceScores | VqaEngineError]:
        """The options of all these questions about one image behind its prefix.

        Raises:
            OutOfMemory, BackendError, AnswerError: as `answer_batch`.
        """
        asking = self._ask()
        asked, ids = asking.prompts(questions, plan), dict[int, OptionIds]()
        for place, (prompt, each) in enumerate(zip(asked, options, strict=True)):
            found = prompt if isinstance(prompt, AnswerError) else self._option_ids(prompt, each)
            if isinstance(found, AnswerError):
                asked[place] = found
            else:
                ids[place] = found

        def scores(
            prompts: Mapping[int, str], picture: Picture, plan: GenerationPlan
        ) -> dict[int, ChoiceScores]:
            started = perf_counter()
            found = asking.answering.score(prompts, ids, picture, plan)
            share = (perf_counter() - started) / len(found)
            return {
                place: ChoiceScores(
                    loglikelihoods=tuple(likely),
                    prompt=prompts[place],
                    tokens=tokens,
                    timings=Timings(prefill=share),
                    image_size=picture.image.size,
                )
                for place, (likely, tokens) in found.items()
            }

        return asking.outcomes(questions, asked, plan, scores)

    def release(self) -> None:
        """Let go of the model and of MLX's pool; calling it twice is safe."""
        if self._asking is None:
            return
        self._asking.preparation.close()
        self._asking, self._family = None, self.family
        self._profile = self.family.estimate
        sweep()

    def profile_of(self, model: ModelRef) -> MemoryProfile:
        """What a checkpoint needs, from its configuration and headers alone.

        If the adapter's default checkpoint cannot be reached, this is its estimate.

        Raises:
            CheckpointError: another checkpoint cannot be reached or read.
            ConfigurationError: `model.options` holds something unknown.
        """
        read(self.family.options, model.options)
        found = within_reach(self.family, model)
        if found is None:
            return self.family.estimate
        family = self.family.of(found.config)
        return profile(family, family.settled(found, read(family.options, model.options)))

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """What these questions about one image will together put through the model.

        The image is decoded and the prompts formatted here, once for this and for the
        answers; further plans for the same questions are weighed in microseconds.

        Raises:
            ImageError: the image cannot be used.
            AnswerError: nothing is loaded, or none of them can be asked.
        """
        return self._ask().cost(questions, plan)

    def cached_bytes(self) -> int:
        """Bytes of the prefixes that are kept, as the allocator counts them."""
        return 0 if self._asking is None else self._asking.answering.readying.prefixes.nbytes

    def drop_caches(self) -> None:
        """Let go of all prefixes; the next question about each image computes it again."""
        if self._asking is not None:
            self._asking.answering.readying.prefixes.clear()

    def prompt(self, question: Question, system: str | None = None) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded, or the question's text is not valid Unicode.
        """
        wording = self._options if system is None else evolve(self._options, system=system)
        text, images = self._text(question), len(question.all_images)
        return chat.formatted(self._ready(), self._family, text, wording, images)

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question; prepared and computed once more.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded.
        """
        asking = self._ask()
        plan = asking.answering.possible(plan)
        try:
            picture, prompt = asking.picture(question, plan), self.prompt(question, plan.system)
            return trace(self._ready(), asking.answering.readying, prompt, picture, plan)
        finally:
            asking.preparation.clear()

    def _begin(self, loaded: Loaded, family: MlxFamily, given: Options) -> None:
        """Get ready to ask a model that was loaded.

        Raises:
            ConfigurationError: the options' texts do not go into its prompt.
        """
        self._plain = Plain.of(loaded.tokenizer, (family.marker, *family.stop))
        self._family, self._options, self._context = family, given, loaded.context
        described = profile(family, loaded.checkpoint)
        if not loaded.kv_group:
            described = without(described, "kv_bits")
        strategies = (*small_pieces(family), *described.strategies)
        self._profile = evolve(described, weights=loaded.weights, strategies=strategies)
        most = _image_bytes(self._profile)
        answering = Answering(loaded, family, reuse=given.reuse, batch=given.batch, most=most)
        self._asking = Asking(answering, self.prompt, self._order)
        try:
            self.prompt(Question(question_id=0, image=b"", text=""))
        except AnswerError as error:
            self.release()
            raise ConfigurationError(f"The prompt options cannot be used: {error}") from error

    def _ask(self) -> Asking:
        if self._asking is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._asking

    def _ready(self) -> Loaded:
        return self._ask().answering.loaded


def _image_bytes(profile: MemoryProfile) -> int:
    """Bytes of keys and values that the most expensive image takes, 0 if nobody knows."""
    image = profile.image_tokens
    return 0 if image is None else image.most * (profile.kv_per_token or 0)
