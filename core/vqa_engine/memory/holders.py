"""Who holds arrays that should have gone: a walk over the garbage collector's referrers."""

from __future__ import annotations

import gc
from collections import Counter
from types import FrameType

_MOST_ARRAYS = 256
"""Arrays looked at, the newest: enough to see the pattern, and bounded."""


def holders(kind: type) -> tuple[tuple[str, int], ...]:
    """Kinds of object that hold arrays made since load, with how many they hold.

    Objects frozen at load (`gc.freeze`) are not listed by the collector, so the weights
    do not drown the few arrays that matter. Their holders may be frozen, so the freeze is
    lifted (about 50 ms once, with mlx-vlm imported). It stays lifted: freezing again would
    freeze what was made since load as well, and its cycles would never be collected.
    """
    arrays = [one for one in gc.get_objects() if type(one) is kind][-_MOST_ARRAYS:]
    if not arrays:
        return ()
    gc.unfreeze()
    wanted = {id(array) for array in arrays}
    found: Counter[str] = Counter()
    owners = gc.get_referrers(*arrays)
    ours = {id(arrays), id(owners)}
    for owner in owners:
        if not _ours(owner, ours):
            held = sum(id(one) in wanted for one in gc.get_referents(owner))
            found[_named(owner, ours)] += held
    return tuple(found.most_common())


def _ours(owner: object, ours: set[int]) -> bool:
    """Whether it is this walk itself that refers to the object."""
    return id(owner) in ours or isinstance(owner, FrameType)


def _named(owner: object, ours: set[int]) -> str:
    """The owner's type, and for a plain container who holds that."""
    name = type(owner).__qualname__
    if not isinstance(owner, (list, dict, tuple, set)):
        return name
    outers = (outer for outer in gc.get_referrers(owner) if not _ours(outer, ours))
    places = (_attribute(outer, owner) for outer in outers)
    place = next((place for place in places if place), "")
    return f"{name} in {place}" if place else name


def _attribute(outer: object, inner: object) -> str:
    """`Class.attribute` or `module.name` where it is known, else nothing."""
    if isinstance(outer, dict):
        if outer.get("__name__") and "__spec__" in outer:
            return f"{outer['__name__']}.{_key(outer, inner)}"
        return next(
            (f"{type(one).__qualname__}.{_key(outer, inner)}" for one in _instances(outer)), ""
        )
    attributes = getattr(outer, "__dict__", None)
    if isinstance(attributes, dict) and (key := _key(attributes, inner)):
        return f"{type(outer).__qualname__}.{key}"
    return ""


def _instances(attributes: dict[object, object]) -> list[object]:
    """The objects whose attributes these are."""
    return [
        one
        for one in gc.get_referrers(attributes)
        if not isinstance(one, FrameType) and getattr(one, "__dict__", None) is attributes
    ]


def _key(attributes: dict[object, object], inner: object) -> str:
    return next((str(key) for key, value in attributes.items() if value is inner), "")
