"""The one driver: every adapter on torch is this class with a `Family` of its own."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelRef,
    Question,
    QuestionCost,
    Trace,
    Transfer,
)
from vqa_engine.errors import AnswerError
from vqa_engine.failures import classify, forget
from vqa_engine.images import open_image
from vqa_engine_adapters.checkpoints.checkpoint import fetch, resolve, within_reach
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.options import read
from vqa_engine_adapters.torch import profile
from vqa_engine_adapters.torch.generation import Generated, generate
from vqa_engine_adapters.torch.loading import Loaded, load, require
from vqa_engine_adapters.torch.options import Options
from vqa_engine_adapters.torch.prefixes import Prefixes
from vqa_engine_adapters.torch.preparing import Prepared, prepare
from vqa_engine_adapters.torch.tracing import trace
from vqa_engine_adapters.torch.whole import generate_whole


class TorchAdapter(ModelAdapter):
    """A model on torch, run through transformers; CUDA before MPS before the CPU.

    A subclass names its `family`. It is also `CostAware`, `Sizable` and a `CacheHolder`
    (`vqa_engine.adapter`): an image's prefix is kept for the next question about it.
    """

    family: ClassVar[Family]
    options: ClassVar[type[Options]] = Options

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._options = Options()
        self._family = self.family
        self._profile = self.family.estimate
        self._prefixes = Prefixes(0)
        self._ahead: tuple[Question, GenerationPlan, Prepared] | None = None

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
        self._prefixes = Prefixes(self._options.prefix_cache)
        self._profile = profile.as_loaded(family, loaded)

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
        loaded = self._ready()
        plan = _possible(loaded, plan)
        try:
            generated = self._generate(loaded, question, plan)
        except Exception as error:
            forget(error)
            self.drop_caches()
            raise classify(error, "transformers") from error
        text = loaded.tokenizer.decode(list(generated.ids), skip_special_tokens=True)
        brief = self._options.instruction is None and not question.worded
        return Answer(
            text=self._family.clean(text, brief=brief),
            plan=plan,
            token_ids=generated.ids,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            timings=generated.timings,
            prompt=self.prompt(question, plan.system),
        )

    def release(self) -> None:
        """Let go of the model and of torch's pool; calling it twice is safe."""
        if self._loaded is None:
            return
        self.drop_caches()
        self._loaded, self._family = None, self.family
        self._profile = self.family.estimate
        sweep()

    def memory_profile(self) -> MemoryProfile:
        """What the loaded checkpoint needs, or an estimate for the default one."""
        return self._profile

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
        """The question's exact cost; what it took to know is not done again by `answer`.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded, or the processor refuses the question.
        """
        (question,) = questions
        prepared = self._prepare(self._ready(), question, plan)
        self._ahead = (question, plan, prepared)
        whole, split, kept = len(prepared.ids), prepared.split, prepared.prefix is not None
        return QuestionCost(
            prompt_tokens=whole,
            image_tiles=prepared.tiles,
            reused_tokens=split if kept else 0,
            apart_tokens=0 if kept else split,
            # The prefix is kept as it is, and the question's cache is a copy that grows.
            cache_tokens=whole if kept else whole + split,
        )

    def cached_bytes(self) -> int:
        """Bytes of the prefixes kept for the images asked about last."""
        return self._prefixes.nbytes

    def drop_caches(self) -> None:
        """Let go of the prefixes; they are computed again when they are needed."""
        self._prefixes.clear()
        self._ahead = None

    def prompt(self, question: Question, system: str | None = None) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded, the checkpoint has no template, or the
                question's text has an image marker.
        """
        loaded = self._ready()
        given = self._options
        system = given.system if system is None else system
        text = self._family.ask(question, given.instruction, given.before)
        marker = getattr(loaded.processor, "image_token", None)
        if marker and marker in text + system + given.prefill:
            raise AnswerError(f"The question's text contains {marker!r}.", cause="marker")
        if _has_template(loaded):
            bare = _templated(loaded, text, system)
        elif self._family.prompt is None:
            raise AnswerError("The checkpoint brings no chat template.", cause="template")
        else:
            bare = self._family.prompt(loaded.checkpoint.config).replace("{question}", text)
        if system.strip() not in bare:
            raise AnswerError(
                "The model's prompt has no place for a system text.", cause="template"
            )
        return bare + given.prefill

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model is given for a question; prepared and computed once more.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded, or the processor refuses the question.
        """
        loaded, image = self._ready(), open_image(question)
        return trace(loaded, self.prompt(question, plan.system), image, plan.image_longest_edge)

    def _generate(self, loaded: Loaded, question: Question, plan: GenerationPlan) -> Generated:
        """The question's tensors live in this frame, so that `forget` can let go of them."""
        prepared = self._taken(question, plan) or self._prepare(loaded, question, plan)
        if prepared.split:
            return generate(loaded, prepared, plan, self._prefixes)
        return generate_whole(loaded, prepared, plan)

    def _prepare(self, loaded: Loaded, question: Question, plan: GenerationPlan) -> Prepared:
        image, prompt = open_image(question), self.prompt(question, plan.system)
        return prepare(loaded, prompt, image, plan.image_longest_edge, self._prefixes)

    def _taken(self, question: Question, plan: GenerationPlan) -> Prepared | None:
        """What `cost` prepared for this very question, if the image's bound is the same."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] is not question:
            return None
        return ahead[2] if ahead[1].image_longest_edge == plan.image_longest_edge else None

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._loaded


def _possible(loaded: Loaded, plan: GenerationPlan) -> GenerationPlan:
    """The plan without what this model cannot do; the answer records it like that."""
    plan = evolve(plan, kv_bits=None)
    return plan if loaded.steps is not None else evolve(plan, prefill_step=None, encoder_batch=None)


def _has_template(loaded: Loaded) -> bool:
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def _templated(loaded: Loaded, text: str, system: str) -> str:
    content: list[dict[str, Any]] = [{"type": "image"}, {"type": "text", "text": text}]
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
