"""The one driver: every MLX adapter is this class with a `Family` of its own."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from attrs import evolve
from PIL import Image

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelRef,
    Question,
)
from vqa_engine.errors import AnswerError, BackendError, ConfigurationError
from vqa_engine.images import open_image
from vqa_engine_adapters.mlx.checkpoint import resolve
from vqa_engine_adapters.mlx.failures import classify, forget
from vqa_engine_adapters.mlx.family import Family
from vqa_engine_adapters.mlx.generation import Generated, generate, prepare
from vqa_engine_adapters.mlx.loading import Loaded, load
from vqa_engine_adapters.mlx.profile import profile

OPTIONS = ("instruction",)
"""What `ModelRef.options` may hold: the text appended to each question, possibly empty."""


class MlxAdapter(ModelAdapter):
    """A model on MLX, run through mlx-vlm.

    A subclass names its `family`. All calls come from one thread: MLX's streams belong
    to the thread that made them. State lives for one question and no longer.
    """

    family: ClassVar[Family]

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._instruction: str | None = None
        self._family = self.family
        self._profile = self.family.estimate

    def load(self, model: ModelRef) -> None:
        """Load the checkpoint; a model loaded before is released first.

        Raises:
            ConfigurationError: `model.options` holds something unknown.
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
        """
        self.release()
        self._instruction = _instruction(model.options)
        checkpoint = resolve(self.family, model)
        family = self.family.of(checkpoint.config)
        try:
            loaded = load(family, checkpoint, trust_remote_code=model.trust_remote_code)
        except Exception as error:
            forget(error)
            _sweep()
            raise
        self._loaded, self._family = loaded, family
        self._profile = evolve(profile(family, checkpoint), weights=loaded.weights)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question, obeying the plan.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: MLX said so. As after every error, what the question had
                computed is gone and the next question starts afresh.
            BackendError: MLX failed, or cannot do what the plan asks for.
            AnswerError: nothing is loaded, or this one question failed.
        """
        loaded = self._ready()
        try:
            generated = self._generate(loaded, question, plan)
        except Exception as error:
            forget(error)
            _discard()
            raise classify(error, "mlx_vlm") from error
        text = loaded.tokenizer.decode(list(generated.ids), skip_special_tokens=True)
        return Answer(
            text=self._family.clean(text, brief=self._instruction is None),
            plan=plan,
            token_ids=generated.ids,
            finish_reason=generated.finish_reason,
            tokens=generated.tokens,
            timings=generated.timings,
        )

    def release(self) -> None:
        """Let go of the model and of MLX's pool; calling it twice is safe."""
        if self._loaded is None:
            return
        self._loaded, self._family = None, self.family
        self._profile = self.family.estimate
        _sweep()

    def memory_profile(self) -> MemoryProfile:
        """What the loaded checkpoint needs, or an estimate for the default one."""
        return self._profile

    def prompt(self, question: Question) -> str:
        """The whole prompt for a question, as the chat template formats it.

        Raises:
            AnswerError: nothing is loaded.
        """
        loaded = self._ready()
        text = self._family.ask(question, self._instruction)
        if self._family.prompt is not None and not _has_template(loaded):
            written = self._family.prompt(loaded.checkpoint.config)
            return written.replace("{question}", text)
        from mlx_vlm import apply_chat_template

        return str(apply_chat_template(loaded.processor, loaded.config, text, num_images=1))

    def _generate(self, loaded: Loaded, question: Question, plan: GenerationPlan) -> Generated:
        """The question's arrays live in this frame, so that `forget` can let go of them."""
        if plan.kv_bits is not None and not self._family.quantises_kv:
            raise BackendError(
                "mlx_vlm kv_bits",
                f"the attention of {loaded.config.model_type} cannot read a quantised KV cache",
                "Leave kv_bits out of the plan.",
            )
        image = bounded(open_image(question), plan.image_longest_edge)
        return generate(loaded, prepare(loaded, self.prompt(question), image), plan)

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        return self._loaded


def bounded(image: Image.Image, longest_edge: int | None) -> Image.Image:
    """The image with its longer side at most `longest_edge` pixels; never enlarged."""
    if longest_edge is None or max(image.size) <= longest_edge:
        return image
    scale = longest_edge / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _instruction(options: Mapping[str, Any]) -> str | None:
    """The caller's instruction, None when the family's own is to be used."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ConfigurationError(
            f"Unknown model option {', '.join(unknown)}; known: {', '.join(OPTIONS)}."
        )
    instruction = options.get("instruction")
    if instruction is not None and not isinstance(instruction, str):
        raise ConfigurationError(f"The model option instruction is no text: {instruction!r}.")
    return instruction


def _has_template(loaded: Loaded) -> bool:
    return any(
        getattr(owner, "chat_template", None) for owner in (loaded.processor, loaded.tokenizer)
    )


def _discard() -> None:
    """Take a late error of the device, which would stick to the next question, and the pool."""
    import mlx.core as mx
    from mlx_vlm.generate import generation_stream

    with suppress(RuntimeError):  # it is what failed the question
        mx.synchronize(generation_stream)
    mx.clear_cache()


def _sweep() -> None:
    """Collect cycles that hold arrays, then give the pool back.

    The order matters: clearing the pool frees no array that is still referenced
    (shared/facts/memory.md, "The first remedy, judged").
    """
    import mlx.core as mx

    gc.collect()
    mx.clear_cache()
