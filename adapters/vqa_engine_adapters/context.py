"""How many tokens a model reads: a question that needs more fails before it is computed.

The bound is what the checkpoint's `config.json` states, never a library's default: conversions
leave the entry out, and then nobody knows. Positions that a model was not trained on give
nonsense after minutes of computing, which is why vLLM refuses such a question as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from attrs import frozen

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import ContextExceeded
from vqa_engine_adapters.families.family import Config

_LONGEST_TOKEN = 64
"""Bytes. Words of a vocabulary are shorter, so a text of more bytes than that for each token of
the context need not be tokenised to know that it is too long."""

_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
"""Where configurations keep their language model's, unless it is on the first level."""

_MOST = 1e6
"""A factor beyond it is no factor."""

_REMEDY = "Shorten the text, use fewer or smaller images, or allow fewer tokens for the answer."


@frozen(kw_only=True)
class Context:
    """The most tokens that a prompt with its images and its answer may have together.

    `size` is None where the checkpoint states none. With `images_count` off, an image's tokens
    share positions (M-RoPE), so the positions are at least those of the text.
    """

    size: int | None = None
    images_count: bool = True

    @classmethod
    def of(cls, config: Config) -> Self:
        """The context that a `config.json` states; the largest, where it states several.

        An encoder-decoder counts its prompt and its answer apart, so nothing is bounded there.
        """
        if config.get("is_encoder_decoder"):
            return cls()
        sizes = [size for one in _language(config) for size in _stated(one)]
        scaled = any("mrope_section" in rope for one in _language(config) for rope in _ropes(one))
        return cls(size=max(sizes, default=None), images_count=not scaled)

    def admit(self, question: Question) -> None:
        """Refuse a question whose text alone is too long, whatever its tokens are.

        Raises:
            ContextExceeded: it is.
        """
        if self.size is None:
            return
        length = sum(_bytes(text) for text in (question.text, *question.choices))
        if length > self.size * _LONGEST_TOKEN:
            least = length // _LONGEST_TOKEN
            raise ContextExceeded(
                f"The question's text has {length:,} bytes, which is at least {least:,} tokens, "
                f"and the model's context is {self.size:,} tokens. {_REMEDY}",
                needed=least,
                size=self.size,
            )

    def check_text(self, prompt: str, count: Callable[[str], int]) -> None:
        """Refuse a prompt that is too long even without its images.

        `count` gives a text's tokens; it is called only for a text of more bytes than the
        context has tokens.

        Raises:
            ContextExceeded: it is too long.
        """
        if self.size is not None and _bytes(prompt) > self.size:
            self.check(count(prompt), 0, 1)

    def fits(self, prompt: int, image: int, answer: int) -> bool:
        """Whether a prompt of so many tokens, `image` of them its images', has room for an
        answer of so many."""
        counted = prompt if self.images_count else prompt - image
        return self.size is None or counted + answer <= self.size

    def check(self, prompt: int, image: int, answer: int) -> None:
        """Refuse a prompt that does not fit together with its answer, before it is computed.

        Raises:
            ContextExceeded: it does not.
        """
        if self.size is not None and not self.fits(prompt, image, answer):
            prompt -= 0 if self.images_count else image
            needed, images = prompt + answer, "with" if self.images_count else "without"
            raise ContextExceeded(
                f"The question needs {needed:,} tokens ({prompt:,} for the prompt {images} its "
                f"images, {answer:,} for the answer), and the model's context is {self.size:,} "
                f"tokens. {_REMEDY}",
                needed=needed,
                size=self.size,
            )


def answer_tokens(question: Question, plan: GenerationPlan) -> int:
    """The tokens that an answer may take; an option that is scored takes at least one."""
    return 1 if plan.choose and question.choices else plan.max_tokens


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _language(config: Config) -> Iterator[Config]:
    yield config
    for name in _TEXT_CONFIGS:
        if isinstance(own := config.get(name), Mapping):
            yield own


def _stated(config: Config) -> Iterator[int]:
    """The contexts that one level of a configuration states, scaled ones included.

    A factor multiplies what the model was trained with: `original_max_position_embeddings`
    where it is stated, which then is no bound of its own. Where only the full length is, as in
    some configurations of Gemma 3, the product is too large and refuses nothing that works.
    """
    full = _whole(config.get("max_position_embeddings"))
    if full is None:
        return
    yield full
    for rope in _ropes(config):
        factor = rope.get("factor")
        trained = _whole(rope.get("original_max_position_embeddings")) or full
        if isinstance(factor, int | float) and 1 < factor < _MOST:
            yield int(trained * factor)


def _ropes(config: Config) -> Iterator[Mapping[str, Any]]:
    """What a configuration says of its rotary positions, also by kind of layer."""
    for name in ("rope_scaling", "rope_parameters"):
        if isinstance(rope := config.get(name), Mapping):
            yield rope
            yield from (one for one in rope.values() if isinstance(one, Mapping))


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
