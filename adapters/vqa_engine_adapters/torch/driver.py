"""The one driver: every adapter on torch is this class with a `Family` of its own."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, ClassVar, TypeVar

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
    Trace,
    Transfer,
)
from vqa_engine.errors import AnswerError, OutOfMemory, VqaEngineError
from vqa_engine.failures import classify, forget
from vqa_engine.images import open_image
from vqa_engine_adapters.checkpoints.checkpoint import fetch, resolve, within_reach
from vqa_engine_adapters.checkpoints.facts import facts_of
from vqa_engine_adapters.continuing import option_ids
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.growth import Growth
from vqa_engine_adapters.interleaving import order, parts
from vqa_engine_adapters.options import read
from vqa_engine_adapters.plain import Plain
from vqa_engine_adapters.torch import batches, profile
from vqa_engine_adapters.torch.ahead import Ahead
from vqa_engine_adapters.torch.generation import (
    Generated,
    OptionIds,
    counted,
    generate,
    score,
)
from vqa_engine_adapters.torch.loading import Loaded, load, require
from vqa_engine_adapters.torch.options import Options
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared
from vqa_engine_adapters.torch.tracing import trace
from vqa_engine_adapters.torch.whole import TRIAL_TEXTS, generate_whole, pictures, score_whole

log = logging.getLogger(__name__)

ROWS = 128
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


class TorchAdapter(ModelAdapter):
    """A model on torch, run through transformers; CUDA before MPS before the CPU.

    A subclass names its `family`. Questions are answered in batches, about one image or
    several (`BatchAdapter`); it is also `CostAware`, `Sizable` and a `CacheHolder`
    (`vqa_engine.adapter`): an image's prefix is kept for the next question about it.
    """

    family: ClassVar[Family]
    options: ClassVar[type[Options]] = Options

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._options, self._plain = Options(), Plain.of(None)
        self._family = self.family
        self._profile = self.family.estimate
        self._prefixes = Prefixes(0)
        self._ahead: Ahead | None = None
        self._growth, self._rows, self._each = Growth(), 1, 1
        self._upcoming: Sequence[Question] = ()
        self._system: str | None = None

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
        self._loaded, self._family = loaded, family
        image = getattr(loaded.processor, "image_token", None)
        self._plain = Plain.of(loaded.tokenizer, (image, family.marker, *family.stop))
        self._profile = profile.as_loaded(family, loaded)
        self._prefixes = Prefixes(self._options.kept(self._profile))
        self._ahead = Ahead(loaded, self._prompt, self._order, self._prefixes)
        self._rows, self._each = self._most(), batches.EACH if loaded.steps is not None else 1
        self._growth = Growth(self._rows, PICTURES)

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
            OutOfMemory: torch said so. As after every error, what the question had
                computed is gone and the next question starts afresh.
            BackendError: the device failed.
            AnswerError: nothing is loaded, or this one question failed.
        """
        (outcome,) = self.answer_batch((question,), plan, None)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """As many as fit and pay; a picture's questions stay together where they can."""
        loaded, self._upcoming, self._system = self._ready(), upcoming, plan.system
        if plan.temperature and loaded.steps is None:
            return 1  # `generate` draws for all rows from one generator
        count = batches.together(upcoming, self._growth.size, self._each, self._rows)
        return batches.within(upcoming[:count], plan, self._rows)

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
        return self._whole_batch(questions, plan, self._answers)

    def score_choices(
        self, question: Question, options: Sequence[str], plan: GenerationPlan
    ) -> ChoiceScores:
        """The log-likelihood of each option as the answer, rows of a batch behind one prefix.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: torch said so; what the question had computed is gone.
            BackendError: the device failed.
            AnswerError: nothing is loaded, or this one question failed.
        """
        (outcome,) = self.score_choices_batch((question,), (options,), plan)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

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

        return self._whole_batch(questions, plan, scores)

    def release(self) -> None:
        """Let go of the model and of torch's pool; calling it twice is safe."""
        if self._loaded is None:
            return
        self.drop_caches()
        if self._ahead is not None:
            self._ahead.close()
        self._loaded, self._ahead, self._upcoming = None, None, ()
        self._family = self.family
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
        self._system = plan.system
        outcomes = self._prepared(questions, self._possible(plan))
        askable = [
            one
            for question, one in zip(questions, outcomes, strict=True)
            if isinstance(one, Prepared)
            for _ in range(batches.rows(question, plan))
        ][: max(self._rows, len(questions))]
        if not askable:
            raise next(one for one in outcomes if isinstance(one, VqaEngineError))
        return batches.cost(askable, plan)

    def cached_bytes(self) -> int:
        """Bytes of the prefixes kept for the images asked about last."""
        return self._prefixes.nbytes

    def drop_caches(self) -> None:
        """Let go of the prefixes; they are computed again when they are needed."""
        self._prefixes.clear()
        if self._ahead is not None:
            self._ahead.forget_reused()

    def prompt(self, question: Question, system: str | None = None) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded, the checkpoint has no template, or the
                question's text is not valid Unicode.
        """
        loaded = self._ready()
        given, text = self._options, self._text(question)
        system = given.system if system is None else system
        marker = getattr(loaded.processor, "image_token", None)
        if marker and marker in text + system + given.prefill:
            raise AnswerError(f"The prompt's wording contains {marker!r}.", cause="marker")
        if _has_template(loaded):
            bare = _templated(loaded, parts(text, len(question.all_images)), system)
        elif self._family.prompt is None:
            raise AnswerError("The checkpoint brings no chat template.", cause="template")
        else:
            bare = self._family.prompt(loaded.checkpoint.config).replace("{question}", text)
        if system.strip() not in bare:
            raise AnswerError(
                "The model's prompt has no place for a system text.", cause="template"
            )
        return bare + given.prefill

    def _prompt(self, question: Question) -> str:
        """The prompt with the system text of the plan that is obeyed now."""
        return self.prompt(question, self._system)

    def _text(self, question: Question) -> str:
        given = self._options
        return self._family.ask(self._plain.question(question), given.instruction, given.before)

    def _order(self, question: Question) -> list[int]:
        return order(self._text(question), len(question.all_images))

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question; prepared and computed once more.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded, or the processor refuses the question.
        """
        loaded, plan = self._ready(), self._possible(plan)
        images = [open_image(question, place) for place in self._order(question)]
        return trace(loaded, self.prompt(question, plan.system), images, plan.image_longest_edge)

    def _whole_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, make: Make[Outcome]
    ) -> list[Outcome | VqaEngineError]:
        """What `make` makes of the questions that can be asked, and the errors of the others."""
        plan = self._possible(plan)
        assert self._ahead is not None
        self._system = plan.system
        try:
            return self._together(questions, plan, make)
        finally:
            self._ahead.forget(questions)

    def _together(
        self, questions: Sequence[Question], plan: GenerationPlan, make: Make[Outcome]
    ) -> list[Outcome | VqaEngineError]:
        try:
            return self._outcomes(questions, plan, make)
        except OutOfMemory:
            if len(questions) == 1:
                raise
        # Here the error is gone, and with it what its frames held.
        sweep()
        half = len(questions) // 2
        self._rows = min(self._rows, half)
        log.info("%d questions did not fit together; trying half of them", len(questions))
        first = self._together(questions[:half], plan, make)
        return first + self._together(questions[half:], plan, make)

    def _outcomes(
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
            self.drop_caches()
            raise classify(error, "transformers") from error
        seconds = perf_counter() - started
        self._growth.answered(batches.size([one for one, _ in asked], self._each), seconds)
        return [next(made) if isinstance(one, Prepared) else one for one in outcomes]

    def _answers(self, asked: Asked, plan: GenerationPlan) -> list[Answer | VqaEngineError]:
        """Generated answers; the tensors live in this frame, so that `forget` lets go of them."""
        loaded = self._ready()
        said = self._generate(loaded, [one for _, one in asked], plan)
        return [
            self._answer(loaded, question, one, generated, plan)
            for (question, one), generated in zip(asked, said, strict=True)
        ]

    def _scores(
        self, asked: Asked, options: Sequence[Sequence[str]], plan: GenerationPlan
    ) -> list[ChoiceScores | VqaEngineError]:
        """The options' log-likelihoods; a question with an option that has no token fails."""
        loaded, started = self._ready(), perf_counter()
        ids = [
            _ids_or_error(loaded, self._plain, one, each)
            for (_, one), each in zip(asked, options, strict=True)
        ]
        sound = [
            (one, each)
            for (_, one), each in zip(asked, ids, strict=True)
            if not isinstance(each, VqaEngineError)
        ]
        found = iter(self._likelihoods(loaded, sound, plan))
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

    def _likelihoods(
        self, loaded: Loaded, asked: Sequence[tuple[Prepared, OptionIds]], plan: GenerationPlan
    ) -> list[list[float]]:
        """As `_generate`: what can be cut at its image goes together, the rest one by one."""
        cut = [pair for pair in asked if pair[0].split]
        together = iter(score(loaded, cut, plan, self._prefixes, self._rows) if cut else ())
        return [
            next(together) if one.split else score_whole(loaded, one, ids, plan)
            for one, ids in asked
        ]

    def _answer(
        self,
        loaded: Loaded,
        question: Question,
        prepared: Prepared,
        generated: Generated,
        plan: GenerationPlan,
    ) -> Answer:
        text = loaded.tokenizer.decode(list(generated.ids), skip_special_tokens=True)
        brief = self._options.instruction is None and not question.worded
        return Answer(
            text=self._family.clean(text, brief=brief),
            plan=plan if prepared.split else evolve(plan, prefill_step=None),
            token_ids=generated.ids,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            timings=generated.timings,
            logprob=generated.logprob,
            prompt=prepared.prompt,
            image_size=prepared.size,
        )

    def _generate(
        self, loaded: Loaded, asked: Sequence[Prepared], plan: GenerationPlan
    ) -> list[Generated]:
        """The questions' tensors live in this frame, so that `forget` can let go of them."""
        cut = [one for one in asked if one.split]
        said = iter(generate(loaded, cut, plan, self._prefixes) if cut else ())
        rest = [one for one in asked if not one.split]
        others = iter(generate_whole(loaded, rest, plan) if rest else ())
        return [next(said if one.split else others) for one in asked]

    def _prepared(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> list[Prepared | VqaEngineError]:
        """These questions made ready, and the pictures of the next ones begun."""
        self._ready()
        assert self._ahead is not None
        outcomes = self._ahead.ready(questions, plan.image_longest_edge)
        self._ahead.offer(self._upcoming, plan.image_longest_edge)
        return outcomes

    def _most(self) -> int:
        """The most rows that may ever go together."""
        loaded, most = self._ready(), self._options.batch
        if most == 1 or not batches.possible(loaded, self._trial):
            return 1
        return most or ROWS

    def _trial(self) -> list[Prepared]:
        """The questions of the self-check."""
        asked = [
            Question(question_id=n, image=one, text=TRIAL_TEXTS[n % 2])
            for n, one in enumerate(pictures())
        ]
        assert self._ahead is not None
        outcomes = self._ahead.ready(asked, None)
        self._ahead.forget(asked)
        return [one for one in outcomes if isinstance(one, Prepared)]

    def _possible(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan without what this model cannot do; the answer records it like that."""
        plan = evolve(plan, kv_bits=None)
        steps = self._ready().steps is not None
        return plan if steps else evolve(plan, prefill_step=None, encoder_batch=None)

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._loaded


def _ids_or_error(
    loaded: Loaded, plain: Plain, prepared: Prepared, options: Sequence[str]
) -> OptionIds | AnswerError:
    try:
        return option_ids(loaded.tokenizer, prepared.prompt, [*map(plain, options)])
    except AnswerError as error:
        return error


def _has_template(loaded: Loaded) -> bool:
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def _templated(loaded: Loaded, parts: Sequence[int | str], system: str) -> str:
    content: list[dict[str, Any]] = [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image"}
        for one in parts
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        told = [{"type": "text", "text": system}]
        messages.insert(0, {"role": "system", "content": told})
    return str(
        loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    )


def sweep() -> None:
    """Collect cycles that hold tensors, then give the pool back.

    Only a device that is there may be asked: `torch.mps.empty_cache` raises without one
    (docs/facts/memory.md, "PyTorch").
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
