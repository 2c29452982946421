"""What an image processor makes of a picture, kept outside MLX until the encoder wants it.

The processors of mlx-vlm give MLX all tiles at once, in float32, and their mask beside them:
85 MiB for SmolVLM's 17 tiles before the model has run. Here only Pillow and numpy run, so it
can be done on a thread of its own, and the encoder takes the tiles as it needs them
(`vqa_engine_adapters.mlx.encoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import RLock
from typing import Any

from attrs import frozen
from PIL import Image

from vqa_engine_adapters.swapping import swapped

Cut = Callable[[Any, Sequence[Image.Image]], Mapping[str, Any]]
"""(image processor, RGB images of one question) → their arrays by name, as numpy;
`pixel_values` among them."""

Narrow = Callable[[Any, int], AbstractContextManager[None]]
"""Bounds what an image processor cuts, by a longest edge in pixels, while the block runs."""

_MASK = "pixel_attention_mask"


@frozen
class Pixels:
    """One picture's arrays.

    `values` are the pixels in the processor's own shape, whose last three places are one
    tile's; `rest` is all else that the image processor made.
    """

    values: Any
    rest: Mapping[str, Any]

    @property
    def tiles(self) -> Any:
        """The pixels, one tile after the other: shape (tiles, channels, height, width)."""
        return self.values.reshape(-1, *self.values.shape[-3:])


class Cutter:
    """Cuts pictures for one loaded processor, on any thread, one at a time."""

    def __init__(self, processor: Any, cut: Cut, narrow: Narrow | None) -> None:
        self._processor, self._images = processor, processor.image_processor
        self._cut, self._narrow, self._lock = cut, narrow, RLock()

    def __call__(self, *images: Image.Image) -> Pixels:
        """The tiles of one question's pictures."""
        import numpy as np

        with self._lock:
            made = dict(self._cut(self._images, images))
        values = np.asarray(made.pop("pixel_values"), dtype=np.float32)
        return Pixels(values, _needed(made))

    @contextmanager
    def bounded(self, longest_edge: int | None) -> Iterator[None]:
        """Cut no more than fits in an edge of so many pixels while the block runs.

        The bound is put on the image processor itself, so no other thread cuts meanwhile.
        """
        if longest_edge is None or self._narrow is None:
            yield
            return
        with self._lock, self._narrow(self._images, longest_edge):
            yield

    @contextmanager
    def given(self, pixels: Pixels) -> Iterator[None]:
        """Have the processor take these pixels for what its image processor makes."""
        with swapped(self._processor, "image_processor", _Given(self._images, pixels)):
            yield


class _Given:
    """An image processor that has done its work already.

    It gives one tile, whose edges some processors look at, in place of all of them.
    """

    def __init__(self, inner: Any, pixels: Pixels) -> None:
        self._inner, self._pixels = inner, pixels

    def __call__(self, images: Any, **options: Any) -> dict[str, Any]:
        return {"pixel_values": self._pixels.values[..., :1, :, :, :], **self._pixels.rest}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _needed(made: dict[str, Any]) -> dict[str, Any]:
    """Without a mask that hides nothing, as that of one picture: it takes eight bytes a pixel.

    The models that are given none make one (mlx_vlm/models/idefics3/idefics3.py,
    `get_input_embeddings`).
    """
    import numpy as np

    if _MASK in made and np.all(made[_MASK]):
        del made[_MASK]
    return made
