"""What an image leaves behind for the next question about it, in bounded memory."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

from attrs import frozen

Key = tuple[str, tuple[int, ...]]
"""An image's content with the prompt's tokens up to its end."""


@frozen(kw_only=True, eq=False)
class Prefix:
    """A prompt up to and including its image, computed once.

    `ids` are its tokens with the image's placeholders, `head` how many of them come before
    the image. `cache` holds their keys and values; nothing may write to it. A `passing` one
    was computed with others for one batch and is part of their tensors.
    """

    ids: tuple[int, ...]
    head: int
    cache: Any
    passing: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the layers' tensors: keys, values, and a sliding window's length."""
        held = (value for layer in self.cache.layers for value in vars(layer).values())
        return sum(getattr(value, "nbytes", 0) for value in held)

    def continued(self) -> Any:
        """A cache that begins with this prefix and grows on its own.

        A plain layer grows by making new tensors (transformers/cache_utils.py,
        `DynamicLayer.update`), so the layers are copied and their tensors shared.
        """
        grown = copy.copy(self.cache)
        grown.layers = [copy.copy(layer) for layer in self.cache.layers]
        return grown

    def let_go(self, layer: int) -> None:
        """Drop a layer of a passing prefix; one that is kept stays whole."""
        if self.passing:
            self.cache.layers[layer].keys = self.cache.layers[layer].values = None

    def alone(self) -> Prefix:
        """The same in tensors of its own."""
        if not self.passing:
            return self
        cache = self.continued()
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
        return Prefix(ids=self.ids, head=self.head, cache=cache)


class Prefixes:
    """Prefixes by the image's content, the least recently used dropped beyond `limit` bytes.

    Threads that prepare pictures look for prefixes while others are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, Lock()
        self._kept: OrderedDict[str, Prefix] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        with self._lock:
            return sum(prefix.nbytes for prefix in self._kept.values())

    def find(self, image: str, head: tuple[int, ...]) -> Prefix | None:
        """The prefix of an image, if it begins with these tokens."""
        with self._lock:
            prefix = self._kept.get(image)
            if prefix is None or prefix.ids[: prefix.head] != head:
                return None
            self._kept.move_to_end(image)
            return prefix

    def keep(self, found: Sequence[tuple[str, Prefix]]) -> None:
        """Keep what there is room for, the last ones first: questions come by image."""
        room, chosen = self._limit, []
        for image, prefix in reversed(found):
            room -= prefix.nbytes
            if room < 0:
                break
            chosen.append((image, prefix.alone()))
        with self._lock:
            for image, prefix in reversed(chosen):
                self._kept[image] = prefix
                self._kept.move_to_end(image)
            while sum(one.nbytes for one in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._kept.clear()
