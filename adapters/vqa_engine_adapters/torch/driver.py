"""The one driver: every adapter on torch is this class with a `Family` of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
from vqa_engine.errors import AnswerError, VqaEngineError
from vqa_engine.failures import forget
from vqa_engine.images import open_image
from vqa_engine_adapters.checkpoints.checkpoint import resolve, within_reach
from vqa_engine_adapters.driver import Driver
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.generated import Generated
from vqa_engine_adapters.options import read
from vqa_engine_adapters.plain import Plain
from vqa_engine_adapters.torch import profile
from vqa_engine_adapters.torch.asking import Asked, Asking
from vqa_engine_adapters.torch.chat import formatted
from vqa_engine_adapters.torch.generation import generate
from vqa_engine_adapters.torch.likelihood import score
from vqa_engine_adapters.torch.loading import Loaded, load, require
from vqa_engine_adapters.torch.options import Options
from vqa_engine_adapters.torch.pool import sweep
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, check_room, counted
from vqa_engine_adapters.torch.tracing import trace


class TorchAdapter(Driver):
    """A model on torch, run through transformers; CUDA before MPS before the CPU.

    A subclass names its `family`. Questions are answered in batches, about one image or
    several (`BatchAdapter`); it is also `CostAware`, `Sizable` and a `CacheHolder`
    (`vqa_engine.adapter`): an image's prefix is kept for the next question about it.
    """

    options: ClassVar[type[Options]] = Options
    _options: Options

    def __init__(self) -> None:
        super().__init__()
        self._options = Options()
        self._asking: Asking | None = None

    def load(self, model: ModelRef) -> None:
        """Load the checkpoint; a model loaded before is released first.

        Raises:
            ConfigurationError: `model.options` holds something unknown or unusable.
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
            BackendError: torch or transformers is not installed.
        """
        self.release()
        self._options = read(Options, model.options)
        require()
        checkpoint = resolve(self.family, model)
        family = self.family.of(checkpoint.config)
        try:
            loaded = load(family, checkpoint, model, self._options)
        except Exception as error:
            forget(error)
            sweep()
            raise
        self._begin(loaded, family)

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """As many as fit and pay; a picture's questions stay together where they can."""
        return self._ask().size(upcoming, plan)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> list[Answer | VqaEngineError]:
        """Answer questions together; half of them at a time where they do not fit.

        The pictures of those that come next are prepared on threads meanwhile.

        Raises:
            OutOfMemory: not even one of them fits.
            BackendError: the device failed.
            AnswerError: nothing is loaded, or several questions failed together.
        """
        return self._ask().outcomes(questions, plan, self._answers)

    def score_choices_batch(
        self,
        questions: Sequence[Question],
        options: Sequence[Sequence[str]],
        plan: GenerationPlan,
    ) -> list[ChoiceScores | VqaEngineError]:
        """The options of all these questions as rows of one batch; as `answer_batch`.

        Raises:
            OutOfMemory: not even one of them fits.
            BackendError: the device failed.
            AnswerError: nothing is loaded, or several questions failed together.
        """
        wanted = {id(one): each for one, each in zip(questions, options, strict=True)}

        def scores(asked: Asked, plan: GenerationPlan) -> list[ChoiceScores | VqaEngineError]:
            return self._scores(asked, [wanted[id(question)] for question, _ in asked], plan)

        return self._ask().outcomes(questions, plan, scores)

    def release(self) -> None:
        """Let go of the model and of torch's pool; calling it twice is safe."""
        if self._asking is None:
            return
        self._asking.close()
        self._asking, self._family = None, self.family
        self._profile = self.family.estimate
        sweep()

    def profile_of(self, model: ModelRef) -> MemoryProfile:
        """What a checkpoint needs, from its configuration and headers alone.

        It is exact once the precision is known; torch is not imported for that. If the
        adapter's default checkpoint cannot be reached, this is its estimate.

        Raises:
            CheckpointError: another checkpoint cannot be reached or read.
            ConfigurationError: `model.options` holds something unknown or unusable.
        """
        given, found = read(Options, model.options), within_reach(self.family, model)
        if found is None:
            return evolve(self.family.estimate, device=given.device)
        return profile.expected(self.family.of(found.config), found, model, given)

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """What the questions cost together; what it took to know is not done again.

        Raises:
            ImageError: the one question's image cannot be used.
            AnswerError: nothing is loaded, or no question can be asked.
        """
        return self._ask().cost(questions, plan)

    def cached_bytes(self) -> int:
        """Bytes of the prefixes kept for the images asked about last."""
        return 0 if self._asking is None else self._asking.prefixes.nbytes

    def drop_caches(self) -> None:
        """Let go of the prefixes; they are computed again when they are needed."""
        if self._asking is not None:
            self._asking.drop()

    def prompt(self, question: Question, system: str | None = None) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded, the checkpoint has no template, or the
                question's text is not valid Unicode.
        """
        return self._prompt(self._ready(), question, system)

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question; prepared and computed once more.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded, or the processor refuses the question.
        """
        images = [open_image(question, place) for place in self._order(question)]
        prompt = self.prompt(question, plan.system)
        return trace(self._ready(), prompt, images, plan.image_longest_edge)

    def _begin(self, loaded: Loaded, family: Family) -> None:
        """Get ready to ask a model that was loaded."""
        image = getattr(loaded.processor, "image_token", None)
        self._plain = Plain.of(loaded.tokenizer, (image, family.marker, *family.stop))
        self._family, self._profile = family, profile.as_loaded(family, loaded)
        self._context = loaded.context
        kept, most = Prefixes(self._options.kept(self._profile)), self._options.batch
        self._asking = Asking(loaded, partial(self._prompt, loaded), self._order, kept, most)

    def _prompt(self, loaded: Loaded, question: Question, system: str | None) -> str:
        wording = self._options if system is None else evolve(self._options, system=system)
        text, images = self._text(question), len(question.all_images)
        return formatted(loaded, self._family, text, wording, images)

    def _answers(self, asked: Asked, plan: GenerationPlan) -> list[Answer | VqaEngineError]:
        """Generated answers; the tensors live in this frame, so that `forget` lets go of them."""
        loaded = self._ready()
        said = self._generate(loaded, [one for _, one in asked], plan)
        return [
            self._answer(
                question,
                generated,
                plan if one.split else evolve(plan, prefill_step=None),
                one.prompt,
                one.size,
            )
            for (question, one), generated in zip(asked, said, strict=True)
        ]

    def _generate(
        self, loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan
    ) -> list[Generated]:
        return generate(loaded, asked, plan, self._ask().prefixes)

    def _scores(
        self, asked: Asked, options: Sequence[Sequence[str]], plan: GenerationPlan
    ) -> list[ChoiceScores | VqaEngineError]:
        """The options' log-likelihoods; a question with an option that has no token fails."""
        asking, loaded, started = self._ask(), self._ready(), perf_counter()
        ids = [
            self._options_behind(one, each) for (_, one), each in zip(asked, options, strict=True)
        ]
        sound = [
            (one, each)
            for (_, one), each in zip(asked, ids, strict=True)
            if not isinstance(each, VqaEngineError)
        ]
        found = iter(score(loaded, sound, plan, asking.prefixes, asking.rows))
        share = (perf_counter() - started) / max(1, len(sound))
        return [
            each
            if isinstance(each, VqaEngineError)
            else ChoiceScores(
                loglikelihoods=tuple(next(found)),
                prompt=one.prompt,
                tokens=counted(loaded, one, 0),
                timings=Timings(prepare=one.seconds, prefill=share),
                image_size=one.size,
            )
            for (_, one), each in zip(asked, ids, strict=True)
        ]

    def _options_behind(
        self, prepared: Prepared, options: Sequence[str]
    ) -> list[tuple[int, ...]] | AnswerError:
        """The ids of a question's options, unless the model does not read the longest."""
        found = self._option_ids(prepared.prompt, options)
        if isinstance(found, list):
            try:
                check_room(self._ready(), prepared, max(map(len, found)))
            except AnswerError as error:
                return error
        return found

    def _ask(self) -> Asking:
        if self._asking is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._asking

    def _ready(self) -> Loaded:
        return self._ask().loaded
