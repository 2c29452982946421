"""What is known of a formatted prompt before any of it is computed."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

from vqa_engine.adapter import GenerationPlan
from vqa_engine_adapters.mlx.family import MlxFamily
from vqa_engine_adapters.mlx.loading import Loaded, special
from vqa_engine_adapters.mlx.picture import Picture
from vqa_engine_adapters.mlx.reuse import Key

_REMEMBERED = 32
"""Prompts whose ids behind the image are kept: a batch is weighed, then answered."""


class Prompts:
    """Takes formatted prompts apart at the image, without the image's pixels."""

    def __init__(self, loaded: Loaded, family: MlxFamily) -> None:
        self._loaded, self._family = loaded, family
        self._largest = 0
        self._said: OrderedDict[str, list[int]] = OrderedDict()
        self._before = lru_cache(_REMEMBERED)(self.tokens)

    def key(self, prompt: str, picture: Picture, plan: GenerationPlan) -> Key:
        """What the prompt's prefix is kept under."""
        marker = self._family.marker
        return Key(
            digest=picture.digest,
            longest_edge=plan.image_longest_edge if self._family.narrow else None,
            kv_bits=plan.kv_bits,
            before=prompt.partition(marker)[0] if marker else "",
        )

    def suffix(self, prompt: str) -> list[int]:
        """The ids of what follows the image, without what comes before."""
        assert self._family.tail is not None
        if prompt not in self._said:
            ids = self._family.tail(self._loaded.processor, prompt, special=special(self._loaded))
            self._said[prompt] = ids
            if len(self._said) > _REMEMBERED:
                self._said.popitem(last=False)
        return self._said[prompt]

    def texts(self, prompt: str) -> tuple[int, int]:
        """Tokens in front of the image and behind it; all behind it, where it is unknown."""
        if self._family.tail is None:
            return 0, self.tokens(prompt)
        before = self._before(prompt.partition(self._family.marker or "")[0])
        return before, len(self.suffix(prompt))

    def learn(self, prompt: str, tokens: int) -> None:
        """Remember what a whole prompt took, where no rule says what an image takes."""
        if self._family.sizes is None:
            self._largest = max(self._largest, tokens - sum(self.texts(prompt)))

    def image(self, picture: Picture, plan: GenerationPlan) -> tuple[int, int]:
        """(tokens, tiles) of a question's pictures that have to be computed.

        Of a model whose family is unknown, an image is assumed to cost as much as the
        most expensive one so far.
        """
        if self._family.sizes is None:
            return self._largest * len(picture.images), len(picture.images)
        found, edge = self._loaded.checkpoint, plan.image_longest_edge
        each = [
            self._family.sizes(found.config, found.settings, image.size, edge)
            for image in picture.images
        ]
        return sum(tokens for tokens, _ in each), sum(tiles for _, tiles in each)

    def within(self, tokens: int) -> bool:
        """Whether a prompt is short enough for its parts to be computed apart.

        Past a length that its config names, Phi rotates all positions of a step another
        way (mlx_vlm/models/rope_utils.py, `SuScaledRoPE`), so there the steps matter.
        """
        config = self._loaded.config
        scaling = getattr(config, "rope_scaling", None) or {}
        if "long_factor" not in scaling:
            return True
        return tokens <= int(getattr(config, "original_max_position_embeddings", 0))

    def tokens(self, text: str) -> int:
        """How many tokens a text is."""
        encoded = self._loaded.tokenizer(text, add_special_tokens=special(self._loaded))
        return len(encoded["input_ids"])
