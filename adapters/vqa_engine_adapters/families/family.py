"""What distinguishes one family of models from another, as a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Self, cast

from attrs import field, frozen

from vqa_engine.adapter import ImageTokens, MemoryProfile, Question

Config = Mapping[str, Any]
"""A `config.json`, or a processor's settings."""

Size = tuple[int, int]
"""Width and height in pixels."""

Sizes = Callable[[Config, Config, Size, int | None], tuple[int, int]]
"""(config, settings, size, the plan's longest edge) → (tokens, tiles)."""

_CHOICE_INSTRUCTION = "\nAnswer with the option's letter from the given choices directly."
"""Asks for a letter; the wording of docs/facts/models.md, "Short-answer instruction"."""

STOP_TEXTS = ("<end_of_utterance>", "<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")
"""End tokens of common chat formats, for a model of which nothing else is known."""

LONGEST_EDGE = 1536
"""Pixels. A photograph of 12 megapixels is 15,552 tokens to Qwen2-VL, and 2,255 at this bound,
which printed text of a page's size still survives."""

MANY_IMAGES = 100
"""Images with one question, for models that take as many as their context holds."""

WORD_OR_PHRASE = "\nAnswer the question using a single word or phrase."
"""The short-answer instruction of LLaVA 1.5's paper (arXiv:2310.03744), which others follow."""


def clip_like(config: Config) -> tuple[int, int] | None:
    """(heads, positions) of the vision encoder, as most configs say it; None if it does not."""
    vision = config.get("vision_config") or {}
    heads, edge, patch = (
        vision.get(name) for name in ("num_attention_heads", "image_size", "patch_size")
    )
    if not (isinstance(heads, int) and isinstance(edge, int) and isinstance(patch, int)):
        return None
    return heads, (edge // patch) ** 2


def with_system(prompt: str, system: str | None) -> str:
    """A prompt without a chat template, after a system message."""
    return prompt if system is None else f"{system} {prompt}"


@frozen(kw_only=True)
class Family:
    """What an adapter has to know about a family of models, whichever library runs it.

    `adapter` is the entry-point name and `model` the default checkpoint (a hub id, None
    when there is none). `model_types` are the `config.json` types that belong to the
    family, empty for all; models of other types are left to the adapter `generic`. `name` is
    what task cards call the family, None when it is not known. `images` is the most images
    that a model of it handles with one question.
    `relatives` are the families whose rules apply to their own
    models in this one, each of this record's class. `builtin` finds the folder of the
    checkpoint shipped with the package. `estimate` is the memory profile of the default
    checkpoint before it is loaded; its backend, levers and strategies are those of every
    checkpoint.

    `instruction` is appended to a question's text and `choice_instruction` to that of a
    multiple-choice question. `prompt` formats `{question}` for a checkpoint that brings no
    chat template. `marker` is the image's placeholder in a prompt, so a question's text
    must not contain it. `stop` are end tokens beyond those that a checkpoint declares; one
    its tokenizer lacks is passed over. `cut` are strings at which the text of an answer
    ends.

    `complete` fills in what a sparse `config.json` leaves unsaid. `longest_edge` bounds an
    image, in pixels, where the plan does not: for models that take a photograph as it is,
    in tens of thousands of tokens.

    `image_tokens` gives a checkpoint's rule from its config and its processor's settings.
    `sizes` says what an image of a given size needs: the prompt's tokens that are not of
    its text, at most, and the tiles for the vision encoder. `encoder` gives the vision
    encoder's (heads, positions per tile), None if unknown.
    """

    adapter: str
    model: str | None
    model_types: tuple[str, ...] = ()
    name: str | None = None
    images: int = 1
    generic: str = ""
    relatives: tuple[Family, ...] = ()
    builtin: Callable[[], Path] | None = None
    estimate: MemoryProfile = field(factory=MemoryProfile)
    instruction: str = ""
    choice_instruction: str = _CHOICE_INSTRUCTION
    prompt: Callable[[Config], str] | None = None
    marker: str | None = None
    stop: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    complete: Callable[[Config], Config] = lambda config: config
    longest_edge: int | None = None
    image_tokens: Callable[[Config, Config], ImageTokens | None] = lambda _config, _settings: None
    sizes: Sizes | None = None
    encoder: Callable[[Config], tuple[int, int] | None] = clip_like

    def of(self, config: Config) -> Self:
        """The family whose rules a checkpoint needs: a relative's, or this one's."""
        model_type = config.get("model_type")
        for relative in self.relatives:
            if model_type in relative.model_types:
                return cast("Self", relative)
        return self

    def ask(self, question: Question, instruction: str | None, before: str = "") -> str:
        """The text put to the model: `before`, question, options if any, instruction.

        `instruction` replaces the family's own unless it is None. A question that is worded
        already is the prompt.
        """
        if question.worded:
            return question.text
        lettered = "".join(
            f"\n{letter}. {choice}"
            for letter, choice in zip(ascii_uppercase, question.choices, strict=False)
        )
        own = self.choice_instruction if question.choices else self.instruction
        return f"{before}{question.text}{lettered}{own if instruction is None else instruction}"

    def clean(self, text: str, *, brief: bool) -> str:
        """An answer's text without the turns a model invents after it.

        With `brief` only its first line stays: a short answer was asked for.
        """
        for mark in self.cut:
            text = text.partition(mark)[0]
        text = text.strip()
        return text.partition("\n")[0].rstrip() if brief else text
