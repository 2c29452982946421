"""The one driver: every adapter on torch is this class with a `Family` of its own."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, ClassVar

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
from vqa_engine_adapters.torch.generation import Generated, generate, kept, score
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


OPTIONS = 8
"""Options of a question that are scored at once: each is a row with a copy of the prefix."""


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
        return batches.together(upcoming, self._growth.size, self._each, self._rows)

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
        plan = self._possible(plan)
        assert self._ahead is not None
        self._system = plan.system
        try:
            return self._together(questions, plan)
        finally:
            self._ahead.forget(questions)

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
        loaded, plan, started = self._ready(), self._possible(plan), perf_counter()
        assert self._ahead is not None
        self._system = plan.system
        try:
            (prepared,) = self._prepared((question,), plan)
            if isinstance(prepared, VqaEngineError):
                raise prepared
            ids = option_ids(loaded.tokenizer, prepared.prompt, options)
            found = self._scored(loaded, prepared, ids, plan)
        finally:
            self._ahead.forget((question,))
        return ChoiceScores(
            loglikelihoods=tuple(found),
            prompt=prepared.prompt,
            timings=Timings(
                prepare=prepared.seconds, prefill=perf_counter() - started - prepared.seconds
            ),
            image_size=prepared.size,
        )

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
        askable = [one for one in outcomes if isinstance(one, Prepared)]
        if plan.choose and questions[0].choices:
            askable *= min(len(questions[0].choices), OPTIONS, self._rows)
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

    def _together(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> list[Answer | VqaEngineError]:
        try:
            return self._outcomes(questions, plan)
        except OutOfMemory:
            if len(questions) == 1:
                raise
        # Here the error is gone, and with it what its frames held.
        sweep()
        half = len(questions) // 2
        self._rows = min(self._rows, half)
        log.info("%d questions did not fit together; trying half of them", len(questions))
        return self._together(questions[:half], plan) + self._together(questions[half:], plan)

    def _outcomes(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> list[Answer | VqaEngineError]:
        """What cannot be asked is an error at its place; the rest is answered together."""
        loaded, outcomes = self._ready(), self._prepared(questions, plan)
        askable = [one for one in outcomes if isinstance(one, Prepared)]
        started = perf_counter()
        try:
            said = iter(self._generate(loaded, askable, plan) if askable else ())
        except Exception as error:
            forget(error)
            self.drop_caches()
            raise classify(error, "transformers") from error
        seconds = perf_counter() - started
        sound = [
            one for one, made in zip(questions, outcomes, strict=True) if isinstance(made, Prepared)
        ]
        self._growth.answered(batches.size(sound, self._each), seconds)
        return [
            self._answer(loaded, question, one, next(said), plan)
            if isinstance(one, Prepared)
            else one
            for question, one in zip(questions, outcomes, strict=True)
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

    def _scored(
        self,
        loaded: Loaded,
        prepared: Prepared,
        ids: Sequence[Sequence[int]],
        plan: GenerationPlan,
    ) -> list[float]:
        """Whole batches of options; where the device fails, its error is classified."""
        try:
            if not prepared.split:
                return score_whole(loaded, prepared, ids, plan)
            rows, found = min(OPTIONS, self._rows), list[float]()
            for start in range(0, len(ids), rows):
                found += score(loaded, prepared, ids[start : start + rows], plan, self._prefixes)
                prepared = kept(prepared, self._prefixes)
            return found
        except Exception as error:
            forget(error)
            self.drop_caches()
            raise classify(error, "transformers") from error

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
