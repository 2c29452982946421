"""The vision encoder, a few tiles at a time: 17 tiles take no more memory than a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from vqa_engine_adapters.swapping import swapped


@frozen
class Tower:
    """Where a model keeps its vision encoder, and what it takes of the encoder's output.

    `owner.name` is the encoder; a tile does not look at another in it. `pick` gives the
    one array that the model reads, `wrap` puts that array where the model reads it.
    `connector` names a part of the owner that shrinks what the encoder gives, tile by tile;
    it is then computed with the tile.
    """

    owner: Any
    name: str
    pick: Callable[[Any], Any]
    wrap: Callable[[Any], Any]
    connector: str | None = None


class InBatches:
    """An encoder that takes its tiles in batches; several are computed one after the other.

    The tiles are not those that it is called with, whose precision alone counts, but
    numpy's, which MLX gets a batch at a time.
    """

    def __init__(self, tower: Tower, tiles: Any, size: int) -> None:
        self._encode = getattr(tower.owner, tower.name)
        self._connect = getattr(tower.owner, tower.connector) if tower.connector else None
        self._tower, self._tiles, self._size = tower, tiles, size

    def __call__(self, named: Any, *flags: Any, **options: Any) -> Any:
        import mlx.core as mx

        found = []
        for start in range(0, len(self._tiles), self._size):
            these = slice(start, start + self._size)
            tiles = mx.array(self._tiles[these]).astype(named.dtype).transpose(0, 2, 3, 1)
            part = {name: _part(value, these) for name, value in options.items()}
            states = self._tower.pick(self._encode(tiles, *flags, **part))
            if self._connect is not None:
                states = self._connect(states.astype(named.dtype))
            found.append(states)
            if len(self._tiles) > self._size:  # all at once go on into the prefill, with no wait
                mx.eval(states)
        return self._tower.wrap(mx.concatenate(found) if len(found) > 1 else found[0])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encode, name)


def _part(value: Any, these: slice) -> Any:
    """Arrays have one row per tile; flags are for all."""
    return value[these] if hasattr(value, "shape") else value


@contextmanager
def in_batches(tower: Tower, tiles: Any, size: int) -> Iterator[None]:
    """Have the encoder take these tiles, at most `size` at once, while the block runs.

    `tiles` are numpy's, of shape (tiles, channels, height, width).
    """
    encoder = InBatches(tower, tiles, size)
    with swapped(tower.owner, tower.name, encoder):
        if tower.connector is None:
            yield
            return
        with swapped(tower.owner, tower.connector, _as_it_is):
            yield


def _as_it_is(states: Any) -> Any:
    return states


def idefics3(model: Any) -> Tower:
    """SmolVLM and Idefics3 read the last state (mlx_vlm/models/idefics3/idefics3.py)."""
    return Tower(
        model,
        "vision_model",
        pick=lambda output: output[0],
        wrap=lambda features: (features, None),
        connector="connector",
    )


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
