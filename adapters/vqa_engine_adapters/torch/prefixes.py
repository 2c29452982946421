"""What an image leaves behind for the next question about it, in bounded memory."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

from attrs import frozen


@frozen(kw_only=True, eq=False)
class Prefix:
    """A prompt up to and including its image, computed once.

    `ids` are its tokens with the image's placeholders, `head` how many of them come before
    the image. `cache` holds their keys and values; nothing may write to it.
    """

    ids: tuple[int, ...]
    head: int
    cache: Any

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


class Prefixes:
    """Prefixes by the image's content, the least recently used dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Prefix] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(prefix.nbytes for prefix in self._kept.values())

    def find(self, image: str, head: tuple[int, ...]) -> Prefix | None:
        """The prefix of an image, if it begins with these tokens."""
        prefix = self._kept.get(image)
        if prefix is None or prefix.ids[: prefix.head] != head:
            return None
        self._kept.move_to_end(image)
        return prefix

    def keep(self, image: str, prefix: Prefix) -> None:
        """Keep a prefix, if there is room for it at all."""
        if prefix.nbytes > self._limit:
            return
        self._kept[image] = prefix
        while self.nbytes > self._limit:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()
