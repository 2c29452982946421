"""The records that cross the contract: what is asked, how, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Union, cast, get_args

from attrs import field, frozen, validators

from vqa_engine.adapter.numbers import finite, share, whole
from vqa_engine.errors import ConfigurationError

if TYPE_CHECKING:
    from PIL import Image

ImageSource = Union[Path, bytes, "Image.Image"]
"""A path, an encoded file's bytes, or a PIL image; PIL is imported by who opens one."""

BUILTIN = "builtin"
"""The `ModelRef.model` that means the checkpoint shipped in this package."""

QUESTION, OPTIONS = "{question}", "{options}"
"""What stands for the question's text, and for its choices, in a `GenerationPlan.prompt`."""

NO_EDGE = 2**31 - 1
"""Pixels; as the `image_longest_edge` of a plan that is asked for it lifts the bound that a
model has of its own. The engine puts None into the plan then, before an adapter gets it."""

QuestionId = int | str
FinishReason = Literal["stop", "length"]
Choose = Literal["likelihood", "likelihood-text"]


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


def as_image(given: str | IO[bytes] | ImageSource) -> ImageSource:
    """An image as a question holds it: a text is a path, and an open file is its bytes.

    Raises:
        ConfigurationError: it is no image of any kind.
    """
    if isinstance(given, str):
        return Path(given)
    if isinstance(given, Path | bytes):
        return given
    if hasattr(given, "read"):
        return _content(cast("IO[bytes]", given))
    if not hasattr(given, "getpixel"):  # only a PIL image has it, and PIL is imported elsewhere
        raise ConfigurationError(
            f"An image is {given!r:.60}; give a path, an encoded file's bytes, an open file or a "
            "PIL image (PIL.Image.fromarray makes one of an array)."
        )
    return given


def _content(file: IO[bytes]) -> bytes:
    content = file.read()
    if not isinstance(content, bytes):
        raise ConfigurationError("An image is a file opened as text; open it with mode 'rb'.")
    if not content:
        raise ConfigurationError(
            "An image is an open file with nothing left to read; call its seek(0) first."
        )
    return content


def _as_images(given: Iterable[str | IO[bytes] | ImageSource]) -> tuple[ImageSource, ...]:
    return tuple(map(as_image, given)) if given else ()


def _as_texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """A single text is one of its kind, not a sequence of letters."""
    if type(given) is tuple:
        return given
    return (given,) if isinstance(given, str) else tuple(given)


@frozen(kw_only=True)
class Transfer:
    """How far a checkpoint's way to this machine is: `done` of `total` bytes of `name`.

    `folder` is where it goes, `free` what the disk there had left at the beginning.
    """

    name: str
    folder: str
    done: int
    total: int
    free: int


@frozen(kw_only=True)
class ModelFacts:
    """What is known of a model before it is loaded.

    `family` is what task cards call its family, None when it is not known. `images` is the
    most images that it handles with one question.
    """

    family: str | None = None
    images: int = 1


@frozen(kw_only=True)
class Question:
    """One visual question.

    `image` is a path, an encoded file's bytes, or a PIL image; `vqa_engine.images`
    opens all three. A text is taken for a path, an open file for its bytes, and a single
    answer or choice for a tuple of one. `images` are further images of the same question;
    where the text says `<image 1>`, `<image 2>`, … the first is `image`. `answers` are the
    ground truths (VQA v2 has ten; empty when unknown). `choices` are the options of a
    multiple-choice question and `right` the index of the right one. Questions with one
    `group` are scored together (the rotations of a question, the two questions of an MME
    image). `labels` are what else scorers need, such as a category. With `worded`, `text` is
    the whole prompt: an adapter adds neither the choices nor an instruction of its own.
    `origin` says where the question comes from (`file:line`), for messages. A path must stay
    inside `image_root` when that is given.

    An adapter gets neither `answers`, `right`, `group`, `labels` nor the types.

    Raises:
        ConfigurationError: `right` is not the index of a choice.
    """

    question_id: QuestionId
    image: ImageSource = field(converter=as_image)
    text: str
    answers: tuple[str, ...] = field(default=(), converter=_as_texts)
    image_id: QuestionId | None = None
    question_type: str | None = None
    answer_type: str | None = None
    choices: tuple[str, ...] = field(default=(), converter=_as_texts)
    origin: str | None = None
    image_root: Path | None = None
    images: tuple[ImageSource, ...] = field(default=(), converter=_as_images)
    right: int | None = field(default=None)
    group: QuestionId | None = None
    labels: Mapping[str, str] = field(factory=dict, hash=False)
    worded: bool = False

    @right.validator
    def _is_a_choice(self, _attribute: object, right: object) -> None:
        if right is None or (type(right) is int and 0 <= right < len(self.choices)):
            return
        raise ConfigurationError(
            f"The right choice of question {self.question_id!r} is {right!r}, and it has "
            f"{len(self.choices)} choices; give an index from 0."
        )

    @property
    def all_images(self) -> tuple[ImageSource, ...]:
        """Every image, `image` first."""
        return (self.image, *self.images)


def _encodable(_owner: object, attribute: Any, value: str | tuple[str, ...] | None) -> None:
    """A validator for texts that no model and no journal could get."""
    for text in (value,) if isinstance(value, str) else value or ():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"The {attribute.name} text {text!r:.100} is not valid Unicode; write it in UTF-8."
            ) from error


@frozen(kw_only=True)
class GenerationPlan:
    """How one answer is to be generated; the adapter obeys it.

    `temperature` 0 is greedy, and then `seed` has no effect. `prefill_step` is the
    number of prompt tokens computed at once, `image_longest_edge` a bound in pixels
    on the image before the processor sees it (`NO_EDGE` for none at all), `kv_bits` the
    width of a quantised KV cache, `encoder_batch` the number of tiles or crops that the
    vision encoder takes at once; None leaves each to the model. `rung` counts the steps
    taken down the ladder of cheaper plans: 0 is the plan as asked for. With `trace` an answer
    also says what the model was given, where the adapter can tell
    (`vqa_engine.adapter.Traceable`).

    `prompt` is the user's wording, with `{question}` in it and, for a multiple choice,
    `{options}`; the engine fills it in, so an adapter gets a question that is `worded`.
    `system` is the system message, which an adapter puts where its model's chat format has
    it. An answer ends before the first of the `stop` texts; the engine cuts it there, and an
    adapter may end earlier.

    `choose` has a multiple-choice question answered by the likelihood of its options instead of
    by generation (`vqa_engine.adapter.ChoiceScorer`): `likelihood` scores the options' letters,
    `likelihood-text` their texts. With `logprobs` a generated answer has its `logprob`, where
    the adapter can give it.

    Raises:
        ConfigurationError: `prompt` has no `{question}`, or a text is not valid Unicode.
    """

    max_tokens: int = field(default=32, validator=whole(1))
    temperature: float = field(default=0.0, validator=finite(0))
    seed: int = field(default=0, validator=whole(-(2**63)))
    prefill_step: int | None = field(default=None, validator=validators.optional(whole(1)))
    image_longest_edge: int | None = field(default=None, validator=validators.optional(whole(1)))
    kv_bits: int | None = field(
        default=None, validator=validators.optional(validators.in_((2, 3, 4, 6, 8)))
    )
    encoder_batch: int | None = field(default=None, validator=validators.optional(whole(1)))
    rung: int = field(default=0, validator=whole(0))
    trace: bool = False
    prompt: str | None = field(default=None, validator=_encodable)
    system: str | None = field(default=None, validator=_encodable)
    stop: tuple[str, ...] = field(default=(), converter=_as_texts, validator=_encodable)
    choose: Choose | None = field(
        default=None, validator=validators.optional(validators.in_(get_args(Choose)))
    )
    logprobs: bool = False

    @prompt.validator
    def _asks(self, _attribute: object, prompt: str | None) -> None:
        if prompt is not None and QUESTION not in prompt:
            raise ConfigurationError(
                f"The prompt {prompt!r} has no {QUESTION}; write it where the question goes."
            )


AS_GIVEN = GenerationPlan()
"""The plan of an answer whose adapter names none: the engine puts the one it gave there."""


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
class Trace:
    """What a model was given for one question, and what it made of it first.

    `prompt` is the whole text and `prompt_ids` its tokens, the image's placeholders among
    them. `image_size` is the (width, height) of the picture as the image processor got it,
    `pixel_shape` what that made of it, and `pixels` some of those numbers, evenly spread.
    `image_positions` are the first position of the image in the prompt and how many there
    are. `first` are the likeliest first tokens, each with its log-probability. What a
    backend does not show stays empty.
    """

    prompt: str = ""
    prompt_ids: tuple[int, ...] = ()
    image_size: tuple[int, int] | None = None
    pixel_shape: tuple[int, ...] = ()
    pixels: tuple[float, ...] = ()
    image_positions: tuple[int, int] | None = None
    first: tuple[tuple[int, float], ...] = ()


@frozen(kw_only=True)
class ChoiceScores:
    """The log-likelihood of each option of a question, and what it cost to know them.

    `loglikelihoods` are natural logarithms, one for each option in the order given: the sum
    over the option's tokens. `prompt` is the whole prompt that the options follow. `tokens`,
    `timings` and `image_size` are those of an `Answer`; no token was generated.
    """

    loglikelihoods: tuple[float, ...]
    prompt: str | None = None
    tokens: TokenCounts | None = None
    timings: Timings | None = None
    image_size: tuple[int, int] | None = None


@frozen
class Answer:
    """What a model said, and what it cost; `Answer("red")` alone will do.

    `token_ids` are the generated ids without the end token. `plan` is the plan that
    was really used, by default the one given. `prompt` is the whole prompt as the model's
    chat format has it, where the adapter knows it. `image_size` is the (width, height) of the
    picture as the model got it. The engine fills in `memory` and `trace`; an adapter may
    leave them out.

    `logprob` is the sum of the natural log-probabilities of `token_ids`, each given all before
    it; the end token is not in it, and neither is a temperature. An answer chosen by likelihood
    has the index of the chosen option as `choice`, its `probability` (0..1, among the options),
    and the log-likelihood of each option in `loglikelihoods`; its `logprob` is that of the
    chosen one.
    """

    text: str
    plan: GenerationPlan = field(default=AS_GIVEN, kw_only=True)
    token_ids: tuple[int, ...] = field(default=(), kw_only=True)
    finish_reason: FinishReason = field(default="stop", kw_only=True)
    tokens: TokenCounts | None = field(default=None, kw_only=True)
    timings: Timings | None = field(default=None, kw_only=True)
    memory: MemoryReading | None = field(default=None, kw_only=True)
    prompt: str | None = field(default=None, kw_only=True)
    image_size: tuple[int, int] | None = field(default=None, kw_only=True)
    trace: Trace | None = field(default=None, kw_only=True)
    server: str | None = field(default=None, kw_only=True)
    logprob: float | None = field(default=None, kw_only=True)
    choice: int | None = field(default=None, kw_only=True, validator=validators.optional(whole(0)))
    probability: float | None = field(
        default=None, kw_only=True, validator=validators.optional(share)
    )
    loglikelihoods: tuple[float, ...] = field(default=(), kw_only=True)

    def __str__(self) -> str:
        return self.text
