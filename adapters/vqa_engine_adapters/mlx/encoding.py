"""The vision encoder, a few tiles at a time: 17 tiles take no more memory than a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from vqa_engine_adapters.mlx.bounding import lent

BATCH = 4
"""Tiles at once when the plan does not say. One 512-pixel tile is 1,024 positions, which
keeps a GPU busy; four are a quarter of what SmolVLM's 17 take."""


@frozen
class Tower:
    """Where a model keeps its vision encoder, and what it takes of the encoder's output.

    `owner.name` is the encoder; a tile does not look at another in it. `pick` gives the
    one array that the model reads, `wrap` puts that array where the model reads it.
    """

    owner: Any
    name: str
    pick: Callable[[Any], Any]
    wrap: Callable[[Any], Any]


class InBatches:
    """An encoder that takes its tiles in batches, each computed before the next begins."""

    def __init__(self, tower: Tower, size: int) -> None:
        self._encode = getattr(tower.owner, tower.name)
        self._tower, self._size = tower, size

    def __call__(self, tiles: Any, *flags: Any, **options: Any) -> Any:
        import mlx.core as mx

        found = []
        for start in range(0, tiles.shape[0], self._size):
            these = slice(start, start + self._size)
            part = {name: _part(value, these) for name, value in options.items()}
            found.append(self._tower.pick(self._encode(tiles[these], *flags, **part)))
            mx.eval(found[-1])
        return self._tower.wrap(mx.concatenate(found))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encode, name)


def _part(value: Any, these: slice) -> Any:
    """Arrays have one row per tile; flags are for all."""
    return value[these] if hasattr(value, "shape") else value


@contextmanager
def in_batches(tower: Tower | None, size: int | None) -> Iterator[None]:
    """Have the encoder take at most `size` tiles at once while the block runs."""
    if tower is None or size is None:
        yield
        return
    with lent(tower.owner, tower.name, InBatches(tower, size)):
        yield


def idefics3(model: Any) -> Tower:
    """SmolVLM and Idefics3 read the last state (mlx_vlm/models/idefics3/idefics3.py)."""
    return Tower(model, "vision_model", lambda output: output[0], lambda state: (state, None))


def llava(model: Any) -> Tower | None:
    """LLaVA reads one layer's states (mlx_vlm/models/llava_next/llava_next.py).

    A checkpoint that reads several layers is encoded as it is.
    """
    layer = model.vision_feature_layer
    if not isinstance(layer, int):
        return None
    return Tower(model, "vision_tower", lambda output: output[-1][layer], _states(layer))


def phi(model: Any) -> Tower:
    """Phi reads the last layer's input (mlx_vlm/models/phi3_v/vision.py)."""
    encoder = model.model.vision_embed_tokens.img_processor
    return Tower(encoder, "vision_model", lambda output: output[-1][-2], _states(-2))


def _states(layer: int) -> Callable[[Any], Any]:
    """An output that has the states of this layer and no other."""
    return lambda state: (None, {layer: state})
