"""Keys and values of several rows in one place each: room for all that a batch will add.

A row is one sequence. Rows of unequal length are padded on the left, so the newest position
of every row is the last one, and a mask hides the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any

from vqa_engine_adapters.torch.prefixes import Prefix


def empty(layers: int, room: int) -> Any:
    """A cache of no rows yet, whose rows will hold at most `room` positions."""
    return _cache([_kind()(room) for _ in range(layers)])


def behind(prefixes: Sequence[Prefix], room: int) -> Any:
    """One row for each of these prefixes, padded on the left; the same one may come again.

    `room` positions are there for what follows. Layer by layer, so that a prefix which is
    nobody else's can go while the next layer is copied.
    """
    longest = max(len(prefix.ids) for prefix in prefixes)
    layers = []
    for number in range(len(prefixes[0].cache.layers)):
        layer = _kind()(longest + room)
        layer.fill([prefix.cache.layers[number] for prefix in prefixes], longest)
        layers.append(layer)
        for prefix in prefixes:
            prefix.let_go(number)
    return _cache(layers)


def keep_rows(cache: Any, rows: Any) -> None:
    """Go on with these rows only."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]


def row(cache: Any, number: int, length: int, end: int) -> Any:
    """A view of the last `length` of the first `end` positions of one row, as a cache."""
    from transformers.cache_utils import DynamicLayer

    layers = []
    for whole in cache.layers:
        layer, place = DynamicLayer(), slice(number, number + 1)
        layer.dtype, layer.device = whole.keys.dtype, whole.keys.device
        layer.keys = whole.keys[place, :, end - length : end]
        layer.values = whole.values[place, :, end - length : end]
        layer.is_initialized = True
        layers.append(layer)
    return _cache(layers)


def _cache(layers: list[Any]) -> Any:
    from transformers import DynamicCache

    made = DynamicCache()
    made.layers = layers
    return made


@cache
def _kind() -> Any:
    """A layer of transformers' cache that writes into room it has, and copies nothing.

    `DynamicLayer.update` makes new tensors for every token (transformers/cache_utils.py).
    The class is made here because importing this module must not import transformers.
    """
    from transformers.cache_utils import DynamicLayer

    class Roomy(DynamicLayer):  # type: ignore[misc]  # transformers is not followed
        def __init__(self, room: int) -> None:
            super().__init__()
            self.room, self.length = room, 0

        def fill(self, parts: Sequence[Any], longest: int) -> None:
            """Begin with the keys and values of these layers of one row each."""
            self._take_room(parts[0].keys, len(parts))
            start = 0
            for _, same in groupby(parts, key=id):
                run = list(same)
                end, pad = start + len(run), longest - run[0].keys.shape[-2]
                for mine, given in ((self.keys, run[0].keys), (self.values, run[0].values)):
                    if pad:
                        mine[start:end, :, :pad] = 0
                    mine[start:end, :, pad:longest] = given
                start = end
            self.length = longest

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            """Write the new positions of every row, and return all so far."""
            if not self.is_initialized:
                self._take_room(keys, keys.shape[0])
            end = self.length + keys.shape[-2]
            self.keys[:, :, self.length : end] = keys
            self.values[:, :, self.length : end] = values
            self.length = end
            return self.keys[:, :, :end], self.values[:, :, :end]

        def get_seq_length(self) -> int:
            """Positions so far, padding among them."""
            return self.length

        def _take_room(self, like: Any, rows: int) -> None:
            self.lazy_initialization(like, like)
            shape = (rows, like.shape[1], self.room, like.shape[-1])
            self.keys, self.values = like.new_empty(shape), like.new_empty(shape)

    return Roomy
