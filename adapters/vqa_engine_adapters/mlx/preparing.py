"""A question as arrays, before any of the model has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from attrs import define
from PIL import Image

from vqa_engine_adapters.mlx.loading import Loaded, once_begun
from vqa_engine_adapters.mlx.pixels import Pixels


@define(kw_only=True)
class Prepared:
    """A question as arrays, before any of the model has run.

    `ids` are the prompt's token ids with the image's placeholders in place, shape (1, n),
    `pixels` the image's tiles, `mask` the attention mask, `rest` what else the processor
    made. `text_tokens` counts the ids that are no placeholders. `seconds` is what it took.
    While `encoding` is entered, the encoder takes its tiles from outside MLX a few at a
    time, and `pixels` have only their shape.
    """

    ids: Any
    pixels: Any
    mask: Any
    rest: dict[str, Any]
    text_tokens: int
    seconds: float
    encoding: Callable[[], AbstractContextManager[None]] = nullcontext

    def let_go(self) -> None:
        """Let go of the tiles, which are large, once they are encoded."""
        self.pixels, self.mask, self.rest, self.encoding = None, None, {}, nullcontext

    def put_in(self, pixels: Pixels) -> None:
        """Have `pixels` for the tiles, all of them at once."""
        import mlx.core as mx

        self.pixels = mx.array(pixels.values)

    def postpone(
        self, pixels: Pixels, encoding: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Have `pixels` for the tiles, encoded only while `encoding` is entered.

        Until then one number fills their whole shape, in the memory of one.
        """
        import mlx.core as mx

        self.pixels = mx.broadcast_to(mx.array(1.0, mx.float32), pixels.values.shape)
        self.encoding = encoding


def prepare(loaded: Loaded, prompt: str, *images: Image.Image) -> Prepared:
    """Tokens and tiles of a formatted prompt and its RGB images.

    The same steps as `mlx_vlm.generate` (mlx_vlm/generate/dispatch.py,
    `_prepare_generation_inputs`).
    """
    from mlx_vlm import prepare_inputs

    started = perf_counter()
    text, marked = once_begun(loaded, prompt)
    inputs = prepare_inputs(
        loaded.processor,
        images=list(images),
        prompts=text,
        image_token_index=getattr(loaded.config, "image_token_index", None),
        add_special_tokens=marked,
    )
    ids = inputs.pop("input_ids")
    return Prepared(
        ids=ids,
        pixels=inputs.pop("pixel_values", None),
        mask=inputs.pop("attention_mask", None),
        rest=dict(inputs),
        text_tokens=sum(not loaded.is_image(token) for token in ids.flatten().tolist()),
        seconds=perf_counter() - started,
    )


def behind(suffix: Sequence[int]) -> Prepared:
    """The rest of a prompt whose prefix is in a cache."""
    import mlx.core as mx

    return Prepared(
        ids=mx.array([suffix]), pixels=None, mask=None, rest={}, text_tokens=0, seconds=0.0
    )
