"""The features of LLaVA 1.6's tiles in the order that the model was trained with.

mlx-vlm 0.7.10 strings the tiles together, padding included, and puts a newline behind every
patch instead of every row of patches (models/llava_next/llava_next.py,
`get_input_embeddings`): 5,760 positions for an image of 640x480 instead of 2,340
(docs/upstream.md). Here they are packed as by transformers (models/llava_next,
`pack_image_features`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from attrs import frozen

from vqa_engine_adapters.families.family import Size
from vqa_engine_adapters.families.llava import best_grid, padding
from vqa_engine_adapters.swapping import swapped


@frozen
class Packed:
    """A model's embedding step that packs the tiles of its one image.

    `inner` is mlx-vlm's own step, `grids` the (height, width) in pixels that the image
    processor chooses from.
    """

    model: Any
    inner: Any
    grids: Sequence[Size]

    def __call__(self, input_ids: Any = None, pixel_values: Any = None, **rest: Any) -> Any:
        """What `inner` gives, with the packed features in the image's place."""
        if pixel_values is None:
            return self.inner(input_ids)
        height, width = rest["image_sizes"][0].tolist()
        project, newline = self.model.multi_modal_projector, self.model.image_newline

        def packed(features: Any) -> Any:
            return self._pack(project(features), newline, (width, height))[None]

        with ExitStack() as stack:
            stack.enter_context(swapped(self.model, "multi_modal_projector", packed))
            stack.enter_context(swapped(self.model, "image_newline", None))
            return self.inner(input_ids, pixel_values, **rest)

    def _pack(self, features: Any, newline: Any, size: Size) -> Any:
        """(tiles, patches, width) as (positions, width): the small copy first, then row by row."""
        import mlx.core as mx

        height, width = best_grid(size, self.grids)
        edge = self.model.config.vision_config.image_size
        rows, columns = height // edge, width // edge
        side, depth = int(features.shape[1] ** 0.5), features.shape[-1]
        tiled = features[1:].reshape(rows, columns, side, side, depth).transpose(0, 2, 1, 3, 4)
        tiled = tiled.reshape(rows * side, columns * side, depth)
        top, left = padding((rows * side, columns * side), size)
        tiled = tiled[top : rows * side - top, left : columns * side - left]
        ends = mx.broadcast_to(newline.astype(tiled.dtype), (tiled.shape[0], 1, depth))
        whole = mx.concatenate([tiled, ends], axis=1).reshape(-1, depth)
        return mx.concatenate([features[0], whole])


def pack(model: Any, processor: Any) -> None:
    """Have a loaded `llava_next` pack its tiles."""
    grids = [(height, width) for height, width in processor.image_processor.image_grid_pinpoints]
    model.get_input_embeddings = Packed(model, model.get_input_embeddings, grids)
