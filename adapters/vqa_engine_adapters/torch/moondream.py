"""moondream2: a model whose code comes with its checkpoint, behind that code's own `query`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from attrs import evolve, frozen

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    ImageTokens,
    MemoryProfile,
    ModelAdapter,
    ModelFacts,
    ModelRef,
    Question,
    Timings,
    Trace,
    Transfer,
)
from vqa_engine.errors import AnswerError, CheckpointError, ConfigurationError
from vqa_engine.failures import classify, forget
from vqa_engine.images import bounded, content_hash, open_image
from vqa_engine_adapters.checkpoints import hub
from vqa_engine_adapters.checkpoints.checkpoint import Checkpoint, fetch, resolve
from vqa_engine_adapters.checkpoints.facts import facts_of
from vqa_engine_adapters.checkpoints.quiet import quiet
from vqa_engine_adapters.families.family import Family, with_system
from vqa_engine_adapters.options import read
from vqa_engine_adapters.plain import Plain
from vqa_engine_adapters.torch.device import (
    WHOLE,
    choose_device,
    strategies,
    synchronise,
)
from vqa_engine_adapters.torch.loading import require, unloadable
from vqa_engine_adapters.torch.moondream_code import TOKENIZERS, Query, made, trace
from vqa_engine_adapters.torch.options import Options
from vqa_engine_adapters.torch.pool import sweep

_RELEASE = "2025-06-21"
"""The release that this adapter was written for; others have other methods."""

REVISION = "9a7d4024050840e001defacec2b00727e89149e6"
"""That release's commit: a tag can be moved, and code that runs here must not change by itself."""

BRIEF = "\nAnswer briefly."

FAMILY = Family(
    adapter="moondream2",
    model="vikhyatk/moondream2",
    name="moondream",
    instruction=BRIEF,
    # 1.93 B parameters in bfloat16; 24 layers of 32 heads, 64 wide (its config.py).
    estimate=MemoryProfile(
        backend="torch",
        weights=3_850_000_000,
        kv_per_token=2 * 24 * 32 * 64 * 2,
        image_tokens=ImageTokens(per_tile=729, tile_edge=378),  # however many crops it encodes
        levers=WHOLE,
    ),
)


_PLAIN = Plain.of(None)
"""Its tokenizer's control tokens all have the usual form."""


@frozen(kw_only=True, eq=False)
class _Encoded:
    """An image as the model's `encode_image` left it, by its content; (width, height)."""

    image: str
    size: tuple[int, int]
    value: Any


class Moondream2(ModelAdapter):
    """moondream2 at `_RELEASE`, on torch. Its code runs only with `trust_remote_code`.

    The last image stays encoded for the next question about it. Its code gives no token
    ids and accepts neither a seed nor a prefill step; the answer's plan has none. Tokens are
    counted while that code runs (`moondream_code.Query`).
    """

    default_model = FAMILY.model
    default_revision = REVISION
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
        if self._options.dtype not in {None, "bfloat16"}:
            raise ConfigurationError("moondream2 runs in bfloat16 only: leave the dtype out.")
        if self._options.system or self._options.prefill:
            raise ConfigurationError(
                "moondream2 writes its own prompt, which has no place for system or prefill: "
                "leave these options out."
            )
        model = _pinned(_allowed(model))
        torch = require()
        device = choose_device(torch, self._options.device)
        checkpoint = resolve(FAMILY, model)
        self._model = _load(checkpoint).to(device)
        self._device = device
        self._profile = evolve(
            FAMILY.estimate,
            weights=sum(tensor.nbytes for tensor in _tensors(self._model)),
            device=str(device),
            strategies=strategies(device.type),
            exact=True,
        )

    def facts_of(self, model: ModelRef) -> ModelFacts:
        """Its family, and that it handles one image."""
        return facts_of(FAMILY, model)

    def fetch(self, model: ModelRef, report: Callable[[Transfer], None]) -> None:
        """Bring the checkpoint, its code and its tokenizer to this machine.

        Raises:
            ConfigurationError: running that code was not allowed.
            CheckpointError: they cannot be reached or stored.
        """
        pinned = _pinned(_allowed(model))
        fetch(FAMILY, pinned, report)
        if (pinned.model or FAMILY.model) == FAMILY.model:
            for name, commit in TOKENIZERS.items():
                hub.small_file(name, "tokenizer.json", commit)

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

    def trace(self, question: Question, plan: GenerationPlan) -> Trace:
        """What the model's code is given for a question, and what it makes of it.

        Raises:
            ImageError: the question's image cannot be used.
        """
        import torch

        with torch.inference_mode():
            image = bounded(open_image(question), plan.image_longest_edge)
            return trace(self._model, image, self._said(question, plan))

    def _query(self, question: Question, plan: GenerationPlan) -> Answer:
        import torch

        started, before = perf_counter(), self._encoded
        query = Query(stop=plan.stop)
        settings = {"temperature": plan.temperature, "max_tokens": plan.max_tokens}
        with torch.inference_mode():
            encoded = self._image(question, plan)
            prepared = perf_counter()
            said = self._said(question, plan)
            text = query.run(self._model, encoded.value, said, settings)
        synchronise(self._device)
        brief = self._options.instruction is None and not question.worded
        return Answer(
            text=FAMILY.clean(text, brief=brief),
            plan=plan,
            finish_reason="length" if query.generated == plan.max_tokens else "stop",
            tokens=query.tokens(encoded.value, reused=encoded is before),
            timings=Timings(prepare=prepared - started, decode=perf_counter() - prepared),
            prompt=query.prompt(self._model) or said,
            image_size=encoded.size,
        )

    def _image(self, question: Question, plan: GenerationPlan) -> _Encoded:
        """The encoded image, the last one if it is the same."""
        image = bounded(open_image(question), plan.image_longest_edge)
        name = content_hash(image)
        if self._encoded is None or self._encoded.image != name:
            self._encoded = None  # before the next one is made: two need not fit
            value = self._model.encode_image(image)
            self._encoded = _Encoded(image=name, size=image.size, value=value)
        return self._encoded

    def _said(self, question: Question, plan: GenerationPlan) -> str:
        """What `query` is told: the question with the texts around it."""
        return with_system(self._ask(question), plan.system)

    def _ask(self, question: Question) -> str:
        """The question with its instruction (docs/facts/models.md)."""
        plain = _PLAIN.question(question)
        return FAMILY.ask(plain, self._options.instruction, self._options.before)


def _allowed(model: ModelRef) -> ModelRef:
    if not model.trust_remote_code:
        raise ConfigurationError(
            "moondream2 runs code that comes with its checkpoint, and that was not allowed. "
            f"Read it on the hub (vikhyatk/moondream2, revision {_RELEASE}); if you trust it, "
            "say --trust-remote-code."
        )
    return model


def _pinned(model: ModelRef) -> ModelRef:
    """The same model at the pinned release, unless another one is asked for."""
    if model.revision is not None or model.model not in {None, FAMILY.model}:
        return model
    return evolve(model, revision=REVISION)


def _load(checkpoint: Checkpoint) -> Any:
    try:
        with quiet():
            model = made(checkpoint)
    except Exception as error:  # code of others may raise anything
        raise unloadable(checkpoint, error, f"This adapter is for revision {_RELEASE}.") from error
    missing = [name for name in ("encode_image", "query") if not hasattr(type(model), name)]
    if missing:
        raise CheckpointError(
            checkpoint.name,
            (),
            f"its model has no {' and no '.join(missing)}",
            f"This adapter is for revision {_RELEASE}.",
        )
    return model.eval()


def _tensors(model: Any) -> Iterator[Any]:
    """All that the loaded model keeps: its parameters, and the tables beside them."""
    yield from model.parameters()
    yield from model.buffers()
