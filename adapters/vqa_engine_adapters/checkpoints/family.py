"""What distinguishes one family of models from another, as a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from vqa_engine.adapter import CleanupStrategy, ImageTokens, MemoryProfile, Question

if TYPE_CHECKING:
    from vqa_engine_adapters.mlx.encoding import Tower
    from vqa_engine_adapters.mlx.pixels import Cut, Narrow

Config = Mapping[str, Any]


Sizes = Callable[[Config, Config, tuple[int, int], int | None], tuple[int, int]]
"""(config, settings, width and height, the plan's longest edge) → (tokens, tiles)."""


def clip_like(config: Config) -> tuple[int, int] | None:
    """(heads, positions) of the vision encoder, as most configs say it; None if it does not."""
    vision = config.get("vision_config") or {}
    heads, edge, patch = (
        vision.get(name) for name in ("num_attention_heads", "image_size", "patch_size")
    )
    if not (isinstance(heads, int) and isinstance(edge, int) and isinstance(patch, int)):
        return None
    return heads, (edge // patch) ** 2


class Tail(Protocol):
    """The token ids that follow the image in a formatted prompt.

    `special` says whether the processor is asked for the tokenizer's own markers. The ids
    are those that the processor gives for the whole prompt (`vqa_engine_adapters.mlx.tail`).
    """

    def __call__(self, processor: Any, prompt: str, *, special: bool) -> list[int]: ...


CHOICE_INSTRUCTION = "\nAnswer with the option's letter from the given choices directly."
"""Asks for a letter; the wording of shared/facts/models.md, "Short-answer instruction"."""


@frozen(kw_only=True)
class Family:
    """All that the one driver has to know about a family of models.

    `adapter` is the entry-point name and `model` the default checkpoint (a hub id, None
    when there is none). `instruction` is appended to a question's text and
    `choice_instruction` to that of a multiple-choice question. `stop` are end tokens
    beyond those that a checkpoint declares; one its tokenizer lacks is passed over.
    `cut` are strings at which the text of an answer ends. `lead` goes between the image's
    marker and the question, where mlx-vlm's message format leaves a needed separator out.
    `prompt` formats `{question}` for a checkpoint that brings no chat template.
    `model_types` are the `config.json` types that belong to the family, empty for all.
    `image_tokens` gives a checkpoint's rule from its config and its processor's settings.
    `sizes` tells what an image of a given size takes: the prompt's tokens that are not of
    its text, at most, and the tiles for the vision encoder (`vqa_engine_adapters.mlx.sizes`).
    `encoder` gives the vision encoder's (heads, positions per tile), None if unknown.
    `tower` finds a loaded model's encoder so that it can be run in batches
    (`vqa_engine_adapters.mlx.encoding`), None where tiles look at each other or it is unknown.
    `estimate` is the memory profile of the default checkpoint before it is loaded.
    `marker` stands for the image in a prompt, so a question's text must not hold it.
    `pixels` gives what an image processor makes of an image, as numpy's arrays; None where
    the processor has to be left to itself.
    `narrow` bounds, while its block runs, the tiles or crops that an image processor cuts,
    by a longest edge in pixels; needed where it enlarges what it is given. It goes with
    `pixels`.
    `tail` tokenises what follows the image, so that the processor need not run again for a
    second question about it; None if the whole prompt has to be processed each time.
    `branches` says that questions about one image may go through the model as branches
    behind one prefix: it takes any mask, and turns positions in each layer's
    `self_attn.rope` and nowhere else (`vqa_engine_adapters.mlx.batching`).
    `quantises_kv` is False where the model's attention cannot read a quantised cache.
    `mend` repairs a loaded processor in place, where mlx-vlm and transformers disagree.
    `relatives` are the families whose rules apply to their own models in this one.
    `builtin` finds the folder of the checkpoint shipped with the package.
    """

    adapter: str
    model: str | None
    instruction: str = ""
    choice_instruction: str = CHOICE_INSTRUCTION
    stop: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    lead: str = ""
    prompt: Callable[[Config], str] | None = None
    model_types: tuple[str, ...] = ()
    image_tokens: Callable[[Config, Config], ImageTokens | None] = lambda _config, _settings: None
    sizes: Sizes | None = None
    encoder: Callable[[Config], tuple[int, int] | None] = clip_like
    tower: Callable[[Any], Tower | None] | None = None
    strategies: tuple[CleanupStrategy, ...] = ()
    estimate: MemoryProfile = field(factory=lambda: MemoryProfile(backend="mlx"))
    marker: str | None = None
    pixels: Cut | None = None
    narrow: Narrow | None = None
    tail: Tail | None = None
    branches: bool = False
    quantises_kv: bool = True
    mend: Callable[[Any], None] | None = None
    relatives: tuple[Family, ...] = ()
    builtin: Callable[[], Path] | None = None

    def of(self, config: Config) -> Family:
        """The family whose rules a checkpoint needs: a relative's, or this one's."""
        model_type = config.get("model_type")
        for relative in self.relatives:
            if model_type in relative.model_types:
                return relative
        return self

    def ask(self, question: Question, instruction: str | None) -> str:
        """The text put to the model: question, options if any, instruction.

        `instruction` replaces the family's own unless it is None.
        """
        lettered = "".join(
            f"\n{letter}. {choice}"
            for letter, choice in zip(ascii_uppercase, question.choices, strict=False)
        )
        own = self.choice_instruction if question.choices else self.instruction
        return f"{self.lead}{question.text}{lettered}{own if instruction is None else instruction}"

    def clean(self, text: str, *, brief: bool) -> str:
        """An answer's text without the turns a model invents after it.

        With `brief` only its first line stays: a short answer was asked for.
        """
        for mark in self.cut:
            text = text.partition(mark)[0]
        text = text.strip()
        return text.partition("\n")[0].rstrip() if brief else text
