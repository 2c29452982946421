"""The contract between the engine and a model: `ModelAdapter` and its records.

Everything here is public. A change needs a reason in the CHANGELOG.
Sizes are bytes, times are seconds, lengths are tokens, unless a name says otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, get_args, runtime_checkable

from attrs import Factory, field, frozen, validators

from vqa_engine.errors import VqaEngineError
from vqa_engine.memory.strategies import CleanupStrategy

if TYPE_CHECKING:
    from PIL import Image

ImageSource = Union[Path, bytes, "Image.Image"]
"""A path, an encoded file's bytes, or a PIL image; PIL is imported by who opens one."""

BUILTIN = "builtin"
"""The `ModelRef.model` that means the checkpoint shipped in this package."""

QuestionId = int | str
Backend = Literal["mlx", "torch", "none"]
FinishReason = Literal["stop", "length"]

Lever = Literal["prefill_step", "encoder_batch", "kv_bits", "image_longest_edge"]
"""A field of the plan by which a question becomes cheaper, where the model obeys it."""

LEVERS: frozenset[Lever] = frozenset(get_args(Lever))


@frozen(kw_only=True)
class ModelRef:
    """Which checkpoint to load.

    `model` is a hub id (`owner/name`), a local folder, `builtin`, or None for the
    adapter's default. `revision` pins a hub id to a branch, tag or commit. Code that
    comes with a checkpoint runs only with `trust_remote_code`. `options` are the
    adapter's own and pass through unread.
    """

    model: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    options: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Question:
    """One visual question.

    `image` is a path, an encoded file's bytes, or a PIL image; `vqa_engine.images`
    opens all three. `answers` are the ground truths (VQA v2 has ten; empty when
    unknown). `choices` are the options of a multiple-choice question. `origin` says
    where the question stands (`file:line`), for messages. A path must stay inside
    `image_root` when that is given.
    """

    question_id: QuestionId
    image: ImageSource
    text: str
    answers: tuple[str, ...] = ()
    image_id: QuestionId | None = None
    question_type: str | None = None
    answer_type: str | None = None
    choices: tuple[str, ...] = ()
    origin: str | None = None
    image_root: Path | None = None


@frozen(kw_only=True)
class GenerationPlan:
    """How one answer is to be generated; the adapter obeys it.

    `temperature` 0 is greedy, and then `seed` has no effect. `prefill_step` is the
    number of prompt tokens computed at once, `image_longest_edge` a bound in pixels
    on the image before the processor sees it, `kv_bits` the width of a quantised KV
    cache, `encoder_batch` the number of tiles or crops that the vision encoder takes at
    once; None leaves each to the model. `rung` counts the steps taken down the
    ladder of cheaper plans: 0 is the plan as asked for.
    """

    max_tokens: int = field(default=32, validator=validators.ge(1))
    temperature: float = field(default=0.0, validator=validators.ge(0.0))
    seed: int = 0
    prefill_step: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    image_longest_edge: int | None = field(
        default=None, validator=validators.optional(validators.ge(1))
    )
    kv_bits: int | None = field(
        default=None, validator=validators.optional(validators.in_((2, 3, 4, 6, 8)))
    )
    encoder_batch: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    rung: int = field(default=0, validator=validators.ge(0))


@frozen(kw_only=True)
class TokenCounts:
    """Tokens of one answer: the whole prompt, the image's share of it, the completion.

    `reused` are those of the prompt that were already computed for an earlier question
    about the same image, and cost nothing this time.
    """

    prompt: int
    completion: int
    image: int | None = None
    reused: int = 0


@frozen(kw_only=True)
class Timings:
    """Seconds of one answer: image and prompt made ready, prefill, decode."""

    prepare: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@frozen(kw_only=True)
class MemoryReading:
    """Bytes at one moment, None where the platform has no such figure.

    `active` and `cache` are the backend's live buffers and its reclaimable pool,
    `peak` the highest `active` since the question began, `footprint` the process's
    (phys_footprint on macOS, resident set elsewhere).
    """

    active: int | None = None
    cache: int | None = None
    peak: int | None = None
    footprint: int | None = None


@frozen(kw_only=True)
class Answer:
    """What a model said, and what it cost.

    `token_ids` are the generated ids without the end token. `plan` is the plan that
    was really used. The engine fills in `memory`; an adapter may leave it out.
    """

    text: str
    plan: GenerationPlan
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason = "stop"
    tokens: TokenCounts | None = None
    timings: Timings | None = None
    memory: MemoryReading | None = None

    def __str__(self) -> str:
        return self.text


@frozen(kw_only=True)
class ImageTokens:
    """How many prompt tokens an image takes: `per_tile · tiles + fixed`.

    `tile_edge` is a tile's side in pixels, `max_tiles` the most tiles that the
    processor cuts (the thumbnail included). `per_tile` is exact per family, the number
    of tiles an upper bound.
    """

    per_tile: int
    tile_edge: int
    max_tiles: int = 1
    fixed: int = 0

    @property
    def most(self) -> int:
        """Tokens of the most expensive image."""
        return self.per_tile * self.max_tiles + self.fixed


@frozen(kw_only=True)
class MemoryProfile:
    """What a model needs, and how its memory is kept in bounds.

    `weights` and `kv_per_token` are bytes. Before `load` the figures are estimates for
    the adapter's default checkpoint, after `load` they are exact for the one loaded
    (`exact` says which). `strategies` are applied by the engine, in this order.

    Three more figures sharpen the first predictions, and are learned when they are left
    out: `attention_per_pair`, the bytes that one prompt token of a prefill step takes per
    token of context while the step is computed, `activations_per_token`, what it takes
    whatever the context, and `per_tile`, the bytes of one image tile in the vision encoder.

    `device` is where the model lies, in its library's own words (`cuda:1`, `cpu`); None is
    the backend's preferred device. The engine counts there, and nowhere else. Name it
    before `load` as well where the model's options tell it (`Sizable.profile_of`): what the
    device held before is known only then, and a release in this process is verified by it.

    `levers` are the fields of a plan that the model obeys. The engine tries no cheaper plan
    that turns another one, and counts on no saving from it.
    """

    backend: Backend = "none"
    device: str | None = None
    weights: int | None = None
    kv_per_token: int | None = None
    image_tokens: ImageTokens | None = None
    attention_per_pair: int | None = None
    activations_per_token: int | None = None
    per_tile: int | None = None
    levers: frozenset[Lever] = LEVERS
    strategies: tuple[CleanupStrategy, ...] = ()
    exact: bool = False


@runtime_checkable
class ModelAdapter(Protocol):
    """One model behind the engine's four calls.

    The engine makes the calls from one thread, in the order `load`, `answer` any
    number of times, `release`. Importing the module and creating the object must stay
    cheap: the model library is imported by `load`.
    """

    @abstractmethod
    def load(self, model: ModelRef) -> None:
        """Load the checkpoint.

        Raises:
            CheckpointError: its files cannot be reached or read.
            OutOfMemory: it does not fit.
        """

    @abstractmethod
    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Answer one question, obeying the plan.

        Raises:
            ImageError: the question's image cannot be used.
            OutOfMemory: the backend said so; the answer and its state are discarded.
        """

    @abstractmethod
    def release(self) -> None:
        """Let go of the model and of all it holds; calling it twice is safe."""

    @abstractmethod
    def memory_profile(self) -> MemoryProfile:
        """What this model needs; callable before `load` and after."""


@frozen(kw_only=True)
class QuestionCost:
    """What a question will put through the model.

    `prompt_tokens` is the whole prompt with the image's share, `reused_tokens` the part
    of it that is already computed and kept, `image_tiles` the tiles or crops that the
    vision encoder still has to encode.

    The rest sharpens the prediction of its memory. `apart_tokens` of the new tokens, the
    first ones, are computed by themselves before the others. `cache_tokens` are positions
    for which the KV cache takes memory anew, where that differs from the new tokens.
    `freed_bytes` of kept caches make room before anything is computed.
    """

    prompt_tokens: int
    image_tiles: int = 0
    reused_tokens: int = 0
    apart_tokens: int = 0
    cache_tokens: int | None = None
    freed_bytes: int = 0


@runtime_checkable
class CostAware(Protocol):
    """An adapter that can say what a question costs before it runs. Optional."""

    @abstractmethod
    def cost(self, question: Question, plan: GenerationPlan) -> QuestionCost:
        """The question's cost under this plan; called after `load`, and cheap.

        Raises:
            ImageError: the question's image cannot be used.
        """


@runtime_checkable
class Sizable(Protocol):
    """An adapter that knows a checkpoint's needs without loading weights. Optional."""

    @abstractmethod
    def profile_of(self, model: ModelRef) -> MemoryProfile:
        """What the checkpoint needs, from its configuration and headers alone.

        Importing the model library is not allowed here: the host calls it.

        Raises:
            CheckpointError: its files cannot be reached or read.
        """


@runtime_checkable
class CacheHolder(Protocol):
    """An adapter that keeps something between questions on purpose. Optional.

    A prefix cache per image is the usual case. What is declared here is not a leak,
    and the governor may ask for it back.
    """

    @abstractmethod
    def cached_bytes(self) -> int:
        """Bytes of arrays kept on purpose, to the byte; called after each question."""

    @abstractmethod
    def drop_caches(self) -> None:
        """Let go of all of them; the next answers are the same, only slower."""


@runtime_checkable
class BatchAdapter(Protocol):
    """An adapter that answers several questions together. Optional.

    Two kinds of adapter gain by it: one that keeps several requests in flight to a server,
    and one that decodes several questions about one image as one batch. Which questions go
    together is the adapter's to say, so the engine needs no rule of its own:

    1. Offer the questions that come next, `upcoming`, in the order they are to be asked. How
       many is the engine's choice.
    2. `batch_size` says how many of them, from the first one on, go together: leading
       questions about one image, or as many as a server takes. 1 means `answer`.
    3. `answer_batch` answers exactly those, under one plan. Each outcome stands at its
       question's place: an answer, or the error that `answer` would have raised for it.
       The fault of one question never costs another its answer.
    4. What concerns all of them (out of memory, a lost device) is raised. Then none has an
       answer, and each is asked again by itself through `answer`.

    Both calls come from the thread that makes all the others; threads that an adapter starts
    for itself are its own affair, and have ended their work when `answer_batch` returns. All
    questions of a batch are in flight at once: if the process dies, none of them is answered.
    The answers are those that `answer` gives, token for token where the backend can promise it.
    """

    @abstractmethod
    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        """How many of `upcoming`, from the first on, `answer_batch` takes at once.

        At least 1 and at most all of them; called after `load`, cheap, and without effect.
        """

    @abstractmethod
    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan
    ) -> Sequence[Answer | VqaEngineError]:
        """One outcome for each question, in their order.

        Raises:
            OutOfMemory: together they do not fit; one by one they may.
            VqaEngineError: another fault that concerns them all.
        """


@runtime_checkable
class BatchCostAware(CostAware, Protocol):
    """A `BatchAdapter` that can say what a batch costs, too, before it runs. Optional.

    Of any other, each question of a batch is taken to need as much as the first one, though
    questions about one image may share most of the work.
    """

    @abstractmethod
    def batch_cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        """The cost of all these together, as if they were one question.

        What they share counts once. Called after `load`, and cheap.

        Raises:
            ImageError: an image cannot be used.
        """


@runtime_checkable
class Prefetcher(Protocol):
    """An adapter that makes an image ready while another question is answered. Optional."""

    @abstractmethod
    def prefetch(self, question: Question) -> None:
        """Begin to make the next question's image ready, on a thread of the adapter's own.

        Called after `load`, before the `answer` of the present question; returns at once
        and raises nothing: what is wrong with the image shows when the question is asked.
        One image at most is kept ready, so a question that never comes costs no more.
        """


@frozen(kw_only=True)
class AdapterSpec:
    """Which adapter to run, and with which checkpoint.

    `name` is the entry-point name. `target` (`module:Class`) names an importable class
    that is no plugin. `label` is what tables and rows call it, so that one adapter can
    run with two checkpoints. `python` is the interpreter of its worker process; None is
    the one that runs the engine.
    """

    name: str
    model: ModelRef = field(factory=ModelRef)
    label: str = field(default=Factory(lambda spec: spec.name, takes_self=True))
    target: str | None = None
    python: Path | None = None
