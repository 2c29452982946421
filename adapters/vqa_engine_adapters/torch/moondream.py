"""moondream2: a model whose code comes with its checkpoint, behind that code's own `query`."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from attrs import evolve, frozen

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelRef,
    Question,
    Timings,
)
from vqa_engine.errors import AnswerError, CheckpointError, ConfigurationError
from vqa_engine.failures import classify, forget
from vqa_engine.images import bounded, content_hash, open_image
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint, resolve
from vqa_engine_adapters.checkpoints.quiet import quiet
from vqa_engine_adapters.families.family import Family, with_system
from vqa_engine_adapters.options import read
from vqa_engine_adapters.torch.device import (
    WHOLE,
    choose_device,
    choose_dtype,
    strategies,
    synchronise,
)
from vqa_engine_adapters.torch.driver import sweep
from vqa_engine_adapters.torch.loading import require, unloadable
from vqa_engine_adapters.torch.options import Options

REVISION = "2025-06-21"
"""The release that this adapter was written for. Other releases have other methods, and code
that runs here unread must not change by itself."""

BRIEF = "\nAnswer briefly."

FAMILY = Family(
    adapter="moondream2",
    model="vikhyatk/moondream2",
    instruction=BRIEF,
    # 1.93 B parameters in bfloat16; 24 layers of 32 heads, 64 wide (its config.py).
    estimate=MemoryProfile(
        backend="torch",
        weights=3_850_000_000,
        kv_per_token=2 * 24 * 32 * 64 * 2,
        levers=WHOLE,
    ),
)


@frozen(kw_only=True, eq=False)
class _Encoded:
    """An image as the model's `encode_image` left it, by its content."""

    image: str
    value: Any


class Moondream2(ModelAdapter):
    """moondream2 at `REVISION`, on torch. Its code runs only with `trust_remote_code`.

    The last image stays encoded for the next question about it. Its code gives no token
    ids and accepts neither a seed nor a prefill step; the answer's plan has none.
    """

    default_model = FAMILY.model
    options = Options

    def __init__(self) -> None:
        self._model: Any = None
        self._device: Any = None
        self._options = Options()
        self._encoded: _Encoded | None = None
        self._profile = FAMILY.estimate

    def load(self, model: ModelRef) -> None:
        """Load the checkpoint and the code that comes with it.

        Raises:
            ConfigurationError: running that code was not allowed, or an option is wrong.
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
            BackendError: torch or transformers is not installed.
        """
        self.release()
        self._options = read(Options, model.options)
        model = _pinned(_allowed(model))
        torch = require()
        device = choose_device(torch, self._options.device)
        dtype = choose_dtype(torch, device, model.model, self._options.dtype)
        checkpoint = resolve(FAMILY, model)
        self._model = _load(checkpoint, dtype).to(device)
        self._device = device
        self._profile = evolve(
            FAMILY.estimate,
            weights=sum(tensor.nbytes for tensor in self._model.parameters()),
            device=str(device),
            strategies=strategies(device.type, plain=False),
            exact=True,
        )

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question through `query`.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: torch said so.
            AnswerError: nothing is loaded, or the model's code failed.
        """
        if self._model is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        plan = evolve(plan, kv_bits=None, prefill_step=None, encoder_batch=None, seed=0)
        try:
            return self._query(question, plan)
        except Exception as error:
            forget(error)
            self.drop_caches()
            raise classify(error, "moondream2.query") from error

    def release(self) -> None:
        """Let go of the model and of torch's pool; calling it twice is safe."""
        if self._model is None:
            return
        self.drop_caches()
        self._model, self._profile = None, FAMILY.estimate
        sweep()

    def memory_profile(self) -> MemoryProfile:
        """What the loaded checkpoint needs, or an estimate."""
        return self._profile

    def cached_bytes(self) -> int:
        """Bytes of the keys and values that the last image left."""
        if self._encoded is None:
            return 0
        caches = getattr(self._encoded.value, "caches", ())
        return sum(tensor.nbytes for layer in caches for tensor in layer)

    def drop_caches(self) -> None:
        """Let go of the encoded image."""
        self._encoded = None

    def _query(self, question: Question, plan: GenerationPlan) -> Answer:
        import torch

        started = perf_counter()
        with torch.inference_mode():
            encoded = self._image(question, plan)
            prepared = perf_counter()
            said = with_system(self._ask(question), plan.system)
            settings = {"temperature": plan.temperature, "max_tokens": plan.max_tokens}
            text = self._model.query(encoded, said, settings=settings)["answer"]
        synchronise(torch, self._device)
        timings = Timings(prepare=prepared - started, decode=perf_counter() - prepared)
        brief = self._options.instruction is None and not question.worded
        cleaned = FAMILY.clean(str(text), brief=brief)
        return Answer(text=cleaned, plan=plan, timings=timings, prompt=said)

    def _image(self, question: Question, plan: GenerationPlan) -> Any:
        """The encoded image, the last one if it is the same."""
        image = bounded(open_image(question), plan.image_longest_edge)
        name = content_hash(image)
        if self._encoded is None or self._encoded.image != name:
            self._encoded = None  # before the next one is made: two need not fit
            self._encoded = _Encoded(image=name, value=self._model.encode_image(image))
        return self._encoded.value

    def _ask(self, question: Question) -> str:
        """The question with its instruction (docs/facts/models.md)."""
        return FAMILY.ask(question, self._options.instruction)


def _allowed(model: ModelRef) -> ModelRef:
    if not model.trust_remote_code:
        raise ConfigurationError(
            "moondream2 runs code that comes with its checkpoint, and that was not allowed. "
            f"Read it on the hub (vikhyatk/moondream2, revision {REVISION}); if you trust it, "
            "say --trust-remote-code."
        )
    return model


def _pinned(model: ModelRef) -> ModelRef:
    """The same model at the pinned release, unless another one is asked for."""
    if model.revision is not None or model.model not in {None, FAMILY.model}:
        return model
    return evolve(model, revision=REVISION)


def _load(checkpoint: Checkpoint, dtype: Any) -> Any:
    try:
        with quiet():
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(
                checkpoint.folder, dtype=dtype, trust_remote_code=True, local_files_only=True
            )
    except Exception as error:  # code of others may raise anything
        raise unloadable(checkpoint, error) from error
    missing = [name for name in ("encode_image", "query") if not hasattr(model, name)]
    if missing:
        raise CheckpointError(
            checkpoint.name,
            (),
            f"its model has no {' and no '.join(missing)}",
            f"This adapter is for revision {REVISION}.",
        )
    return model.eval()
