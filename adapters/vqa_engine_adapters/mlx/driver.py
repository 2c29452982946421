"""The one driver: every MLX adapter is this class with a `Family` of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import ClassVar

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    ChoiceScores,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelFacts,
    ModelRef,
    Question,
    QuestionCost,
    Timings,
    TokenCounts,
    Trace,
    Transfer,
)
from vqa_engine.errors import AnswerError, ConfigurationError, ImageError, VqaEngineError
from vqa_engine.failures import classify, forget
from vqa_engine_adapters.checkpoints.checkpoint import fetch, resolve, within_reach
from vqa_engine_adapters.checkpoints.facts import facts_of
from vqa_engine_adapters.checkpoints.profile import profile, without
from vqa_engine_adapters.continuing import option_ids
from vqa_engine_adapters.interleaving import order
from vqa_engine_adapters.mlx import chat
from vqa_engine_adapters.mlx.answering import Answering
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.generation import Generated, kv_group
from vqa_engine_adapters.mlx.loading import Loaded, load, require
from vqa_engine_adapters.mlx.picture import Picture, Preparation, Prompt, same_source
from vqa_engine_adapters.mlx.pool import discard, sweep
from vqa_engine_adapters.mlx.tracing import trace
from vqa_engine_adapters.options import Wording, read
from vqa_engine_adapters.plain import Plain

log = logging.getLogger(__name__)


class MlxAdapter(ModelAdapter):
    """A model on MLX, run through mlx-vlm.

    A subclass names its `family`. All calls come from one thread: MLX's streams belong
    to the thread that made them. From question to question it keeps the prefixes of the
    last few images and nothing else (`vqa_engine_adapters.mlx.reuse`).
    """

    family: ClassVar[MlxFamily]

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._answering: Answering | None = None
        self._preparation = Preparation(self._order)
        self._wording, self._plain = Wording(), Plain.of(None)
        self._warned = False
        self._family = self.family
        self._profile = self.family.estimate

    @property
    def options(self) -> type[Wording]:
        """The class of its options, which `vqa-engine adapters NAME` lists."""
        return self.family.options

    @property
    def model_types(self) -> tuple[str, ...]:
        """The `config.json` types of the checkpoints that it runs, empty for all."""
        return self.family.model_types

    @property
    def default_model(self) -> str | None:
        """The hub id of the checkpoint that is loaded when none is named."""
        return self.family.model

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
        self._loaded, self._family, self._warned = loaded, family, False
        self._plain = Plain.of(loaded.tokenizer, (family.marker, *family.stop))
        self._wording = given
        chat.drop_blind_template(family, loaded.processor, loaded.config)
        described = profile(family, checkpoint)
        if not kv_group(loaded):
            described = without(described, "kv_bits")
        self._profile = evolve(described, weights=loaded.weights)
        self._answering = Answering(
            loaded,
            family,
            reuse=given.reuse,
            batch=given.batch,
            most=_image_bytes(self._profile),
        )
        self._preparation = Preparation(self._order, self._answering.cut_ahead)
        if family.prompt is None and not chat.has_template(loaded):
            log.warning("%s has no chat template: it gets the bare question", checkpoint.name)
        self._check_wording()

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
            OutOfMemory: MLX said so. As after every error, what the question had
                computed is gone and the next question starts afresh.
            BackendError: MLX failed.
            AnswerError: nothing is loaded, or this one question failed.
        """
        (outcome,) = self.answer_batch((question,), plan, None)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of the first questions are about one image, as far as they go together."""
        plan = self._possible(self._ready(), plan)
        assert self._answering is not None
        most = self._answering.most(plan)
        more = enumerate(upcoming[1:most], 1)
        others = (n for n, one in more if not _same_image(upcoming[0], one))
        return next(others, min(most, len(upcoming)))

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
        plan = self._possible(self._ready(), plan)
        if following is not None and not _same_image(questions[-1], following):
            self._preparation.prefetch(following)
        try:
            return self._outcomes(questions, plan)
        finally:
            self._preparation.clear()

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        """The log-likelihood of each option as the answer, all behind one prefix.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: MLX said so. As after every error, what was computed is gone.
            BackendError: MLX failed.
            AnswerError: nothing is loaded, or this one question failed.
        """
        loaded, started = self._ready(), perf_counter()
        plan = self._possible(loaded, plan)
        prompt = self.prompt(question, plan.system)
        ids = option_ids(loaded.tokenizer, prompt, [*map(self._plain, options)])
        try:
            with self._careful():
                found, tokens = self._score(question, prompt, ids, plan)
            size = self._picture(question, plan).image.size
        finally:
            self._preparation.clear()
        return ChoiceScores(
            loglikelihoods=tuple(found),
            prompt=prompt,
            tokens=tokens,
            timings=Timings(prefill=perf_counter() - started),
            image_size=size,
        )

    def release(self) -> None:
        """Let go of the model and of MLX's pool; calling it twice is safe."""
        if self._loaded is None:
            return
        self._preparation.close()
        self._preparation = Preparation(self._order)  # the old one's cutter holds on to the model
        self._loaded, self._answering, self._family = None, None, self.family
        self._profile = self.family.estimate
        sweep()

    def memory_profile(self) -> MemoryProfile:
        """What the loaded checkpoint needs, or an estimate for the default one."""
        return self._profile

    @property
    def images_per_question(self) -> int:
        """The most images that the loaded model handles with one question."""
        return self._family.images

    def facts_of(self, model: ModelRef) -> ModelFacts:
        """The family of a checkpoint, and how many images it handles, from its configuration."""
        return facts_of(self.family, model)

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
        plan = self._possible(self._ready(), plan)
        assert self._answering is not None
        picture = self._picture(questions[0], plan)
        prompts = self._prompts(questions, plan)
        askable = [prompt for prompt in prompts if isinstance(prompt, str)]
        if not askable:
            raise next(one for one in prompts if isinstance(one, AnswerError))
        return self._answering.cost(askable, picture, plan)

    def cached_bytes(self) -> int:
        """Bytes of the prefixes that are kept, as the allocator counts them."""
        return 0 if self._answering is None else self._answering.prefixes.nbytes

    def drop_caches(self) -> None:
        """Let go of all prefixes; the next question about each image computes it again."""
        if self._answering is not None:
            self._answering.prefixes.clear()

    def prompt(self, question: Question, system: str | None = None) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded, or the question's text is not valid Unicode.
        """
        wording = self._wording if system is None else evolve(self._wording, system=system)
        text, images = self._text(question), len(question.all_images)
        return chat.formatted(self._ready(), self._family, text, wording, images)

    def _text(self, question: Question) -> str:
        given = self._wording
        return self._family.ask(self._plain.question(question), given.instruction, given.before)

    def _order(self, question: Question) -> list[int]:
        return order(self._text(question), len(question.all_images))

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question; prepared and computed once more.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded.
        """
        loaded = self._ready()
        assert self._answering is not None
        plan = self._possible(loaded, plan)
        try:
            picture = self._picture(question, plan)
            return trace(loaded, self._answering, self.prompt(question, plan.system), picture, plan)
        finally:
            self._preparation.clear()

    def _brief(self, question: Question) -> bool:
        return self._wording.instruction is None and not question.worded

    def _prompts(self, questions: Sequence[Question], plan: GenerationPlan) -> list[Prompt]:
        return self._preparation.prompts(
            questions, lambda question: self._prompt(question, plan.system)
        )

    def _prompt(self, question: Question, system: str | None) -> Prompt:
        try:
            return self.prompt(question, system)
        except AnswerError as error:
            return error

    def _outcomes(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> list[Answer | VqaEngineError]:
        """What cannot be asked is an error at its place; the rest is answered in groups."""
        outcomes: dict[int, Answer | VqaEngineError] = {}
        prompts: dict[int, str] = {}
        for place, prompt in enumerate(self._prompts(questions, plan)):
            if isinstance(prompt, str):
                prompts[place] = prompt
            else:
                outcomes[place] = prompt
        while prompts:
            done = self._group(questions[0], prompts, plan)
            outcomes |= done
            prompts = {place: one for place, one in prompts.items() if place not in done}
        return [_of(questions[place], outcomes[place]) for place in range(len(questions))]

    def _group(
        self, first: Question, prompts: Mapping[int, str], plan: GenerationPlan
    ) -> dict[int, Answer | VqaEngineError]:
        """Outcomes of the first of the prompts and of those that go with it, by place."""
        try:
            with self._careful():
                said = self._generate(first, prompts, plan)
        except ImageError as error:
            return dict.fromkeys(prompts, error)
        except AnswerError as error:
            if self._answering is None or len(self._answering.together) > 1:
                raise  # nobody knows whose fault it is
            return {next(iter(prompts)): error}
        size = self._picture(first, plan).image.size
        return {
            place: evolve(
                self._answer(generated, plan, first), image_size=size, prompt=prompts[place]
            )
            for place, generated in said.items()
        }

    def _generate(
        self, first: Question, prompts: Mapping[int, str], plan: GenerationPlan
    ) -> dict[int, Generated]:
        """The questions' arrays live in this frame, so that `forget` can let go of them."""
        assert self._answering is not None
        picture = self._picture(first, plan)
        return self._answering.generate(prompts, picture, plan)

    def _score(
        self, question: Question, prompt: str, ids: Sequence[Sequence[int]], plan: GenerationPlan
    ) -> tuple[list[float], TokenCounts]:
        """As `_generate`: the arrays live in this frame."""
        assert self._answering is not None
        return self._answering.score(prompt, ids, self._picture(question, plan), plan)

    def _picture(self, question: Question, plan: GenerationPlan) -> Picture:
        """The question's picture, as small as the plan wants it."""
        return self._preparation.picture(question, plan.image_longest_edge)

    def _check_wording(self) -> None:
        """See that the options' texts go into this model's prompt, before anything is asked."""
        try:
            self.prompt(Question(question_id=0, image=b"", text=""))
        except AnswerError as error:
            self.release()
            raise ConfigurationError(f"The prompt options cannot be used: {error}") from error

    def _answer(self, generated: Generated, plan: GenerationPlan, question: Question) -> Answer:
        """The record of what was generated for a question, or for one worded like it."""
        tokenizer = self._ready().tokenizer
        text = tokenizer.decode(list(generated.ids), skip_special_tokens=True)
        return Answer(
            text=self._family.clean(text, brief=self._brief(question)),
            plan=plan,
            token_ids=generated.ids,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            timings=generated.timings,
            logprob=generated.logprob,
        )

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """Say what an error in the block was, and let go of all that had to do with it."""
        try:
            yield
        except VqaEngineError as error:
            forget(error)
            raise
        except Exception as error:
            forget(error)
            self.drop_caches()
            discard()
            raise classify(error, "mlx_vlm") from error

    def _possible(self, loaded: Loaded, plan: GenerationPlan) -> GenerationPlan:
        """The plan without what this model cannot do.

        The answer records it like that. A plan further down the ladder keeps `kv_bits` and
        may still help, so a model that has no quantised cache must not fail on it.
        """
        if plan.kv_bits is not None and not (self._family.quantises_kv and kv_group(loaded)):
            if not self._warned:
                log.warning("%s cannot quantise its KV cache", loaded.config.model_type)
            self._warned = True
            plan = evolve(plan, kv_bits=None)
        if "prefill_step" not in self._family.estimate.levers:
            plan = evolve(plan, prefill_step=None)
        batches = self._answering is not None and self._answering.batches
        return plan if batches else evolve(plan, encoder_batch=None)

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._loaded


def _of(question: Question, outcome: Answer | VqaEngineError) -> Answer | VqaEngineError:
    """The outcome; an error of the common image names the question that it is given for."""
    if not isinstance(outcome, ImageError) or outcome.question_id == question.question_id:
        return outcome
    return ImageError(
        outcome.reason,
        image=outcome.image,
        origin=question.origin,
        question_id=question.question_id,
    )


def _same_image(one: Question, other: Question) -> bool:
    """Whether two questions that are asked at once are about one image."""
    single = not (one.images or other.images)
    return single and (one.image is other.image or same_source(one, other))


def _image_bytes(profile: MemoryProfile) -> int:
    """Bytes of keys and values that the most expensive image takes, 0 if nobody knows."""
    image = profile.image_tokens
    return 0 if image is None else image.most * (profile.kv_per_token or 0)
