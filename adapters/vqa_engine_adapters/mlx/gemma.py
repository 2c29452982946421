"""Gemma 3 as it was trained: an image's tokens see all of it, and are scaled as the text's.

mlx-vlm 0.7.10 makes a mask that hides nothing (models/gemma3/gemma3.py,
`prepare_inputs_for_multimodal`), and its generation passes it on under a name that the
language model does not know. So an image's tokens see only those before them
(docs/upstream.md). They see each other only where they are computed together, so the model
obeys no prefill step. transformers lets them see each other (5.23, models/gemma3,
`create_causal_mask_mapping`).

It also scales an image's features by the width that a config names beside its parts, 2048 if
it names none; the embeddings that they go between are scaled by the text part's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from vqa_engine_adapters.families.family import Config


def as_trained(model: Any, _processor: Any, _settings: Config) -> None:
    """Scale an image's features rightly, and have its tokens see each other."""
    model.config.hidden_size = model.config.text_config.hidden_size
    model.language_model.image_token = model.config.image_token_index
    model.language_model.__class__ = _kind()


@cache
def _kind() -> Any:
    """The class is made here because importing this module must not import mlx-vlm."""
    from mlx_vlm.models.gemma3.language import LanguageModel

    class BothWays(LanguageModel):  # type: ignore[misc]  # mlx-vlm is not followed
        def __call__(
            self,
            inputs: Any,
            inputs_embeds: Any = None,
            mask: Any = None,
            cache: Any = None,
            **rest: Any,
        ) -> Any:
            if mask is None:
                start = 0 if cache is None else cache[0].offset
                mask = _mask(inputs == self.image_token, start, self.config.sliding_window)
            return super().__call__(
                inputs, inputs_embeds=inputs_embeds, mask=mask, cache=cache, **rest
            )

    return BothWays


def _mask(marks: Any, start: int, window: int) -> Any:
    """What new tokens see: all before them, and the image of which they are a part.

    `marks` says which of them are an image's, shape (1, new); `start` positions were computed
    before. None, for mlx-vlm's own masks, where there is no image among them, or where they
    reach past the window of the layers that see no further.
    """
    import mlx.core as mx

    new = marks.shape[1]
    if new == 1 or start + new > window or not marks.any().item():
        return None
    earlier = mx.arange(start + new)[None] <= mx.arange(start, start + new)[:, None]
    image = mx.concatenate([mx.zeros((start,), dtype=mx.bool_), marks[0]])
    return earlier | (marks[0][:, None] & image[None])
