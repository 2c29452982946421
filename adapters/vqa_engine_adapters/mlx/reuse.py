"""Prefixes kept from question to question: what was computed about an image already.

A prefix is the prompt up to and including the image. Its keys and values are the costly
part of a visual question, and the same for every question about that image. They are kept
by the image's content, never by token ids alone: placeholders are the same for every image,
and mlx-vlm's own cache, which compares ids, answers about the wrong one
(docs/facts/mlx_vlm.md).
"""

from __future__ import annotations

from typing import Any

from attrs import define, frozen

_MOST_IMAGES = 4
"""Images whose prefix is kept. Questions come ordered by image, so one would nearly do;
a few more serve a caller who asks in turn about several."""

_MOST_BYTES = 256 * 2**20
"""Bytes kept in all, unless one image alone takes more: then it is kept by itself.
SmolVLM-256M takes 24 MB for 17 tiles, a 7B model 300 MB and more for one image."""


@frozen(kw_only=True)
class Key:
    """All that a prefix depends on within one load of a model.

    `digest` is the content hash of the pixels that the processor gets, `longest_edge` the
    plan's bound (it also bounds the tiles that are cut), `kv_bits` the width of the cache,
    `before` the prompt's text in front of the image.
    """

    digest: str
    longest_edge: int | None
    kv_bits: int | None
    before: str


@define(kw_only=True)
class Prefix:
    """A computed prefix.

    `ids` are its token ids, `positions` the places that it takes in the cache (mlx-vlm's
    llava_next takes more than there are ids), `image` how many of them are the image's.
    `cache` has one layer's cache per entry, cut back to `positions`, `capacity` positions
    fit without growing, and `nbytes` is what the allocator counts for it.
    """

    ids: tuple[int, ...]
    positions: int
    image: int
    cache: list[Any]
    capacity: int
    nbytes: int


class Prefixes:
    """The prefixes kept at present, the one used last at the end.

    A prefix is taken out while it is used and put back when the question has been
    answered. So whatever goes wrong in between, no half-written state is left behind.
    """

    def __init__(self, most_images: int = _MOST_IMAGES, most_bytes: int = _MOST_BYTES) -> None:
        self._kept: dict[Key, Prefix] = {}
        self._most_images, self._most_bytes = most_images, most_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of all that are kept, as the allocator counts them."""
        return sum(prefix.nbytes for prefix in self._kept.values())

    def peek(self, key: Key) -> Prefix | None:
        """The prefix under `key`, which stays where it is."""
        return self._kept.get(key)

    def has(self, digest: str) -> bool:
        """Whether anything is kept about that image; may be called from any thread.

        Copying the keys of a plain dict is atomic, which an `OrderedDict`'s are not: it
        hashes each key on the way.
        """
        return any(key.digest == digest for key in tuple(self._kept))

    def take(self, key: Key) -> Prefix | None:
        """The prefix under `key`, which is kept no longer."""
        return self._kept.pop(key, None)

    def put(self, key: Key, prefix: Prefix) -> None:
        """Keep a prefix, and let go of others until the bounds are met."""
        self.make_room(prefix.nbytes)
        self._kept[key] = prefix

    def make_room(self, nbytes: int) -> None:
        """Let go of the prefixes used longest ago until one of that size fits in."""
        for key in self._in_the_way(nbytes):
            del self._kept[key]

    def giving_way(self, nbytes: int) -> int:
        """Bytes that `make_room` would let go of."""
        return sum(self._kept[key].nbytes for key in self._in_the_way(nbytes))

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()

    def _in_the_way(self, nbytes: int) -> list[Key]:
        """Those used longest ago, until the rest and a new one of that size are in bounds."""
        oldest, left, size = list[Key](), len(self._kept), self.nbytes
        for key, prefix in self._kept.items():
            if left < self._most_images and size + nbytes <= self._most_bytes:
                break
            oldest.append(key)
            left, size = left - 1, size - prefix.nbytes
        return oldest
