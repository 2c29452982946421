"""Which tests are standard, and whether an author's class still has them all."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from vqa_engine.testing.capabilities import Capabilities

GUARD = "test_standard_tests_are_all_there"


def standard_tests(kit: type) -> frozenset[str]:
    """Names of the tests that a class of the kit brings."""
    return frozenset(name for name in dir(kit) if name.startswith("test_"))


def refuse_unguarded(author: type, kit: type) -> None:
    """Refuse a class that takes away the very test that would notice.

    Raises:
        TypeError: it deletes or overrides the guard.
    """
    if inspect.getattr_static(author, GUARD, None) is not inspect.getattr_static(kit, GUARD):
        raise TypeError(f"{author.__name__} overrides {GUARD}: waive other tests by name instead")


def tampered(author: type, kit: type, capabilities: Capabilities) -> list[str]:
    """What is wrong with the standard tests of an author's class, one sentence each."""
    return [*_replaced(author, kit, capabilities), *_unknown(kit, capabilities)]


def _replaced(author: type, kit: type, capabilities: Capabilities) -> Iterator[str]:
    for name in sorted(standard_tests(kit) - capabilities.waived.keys()):
        now = inspect.getattr_static(author, name, None)
        if now is not inspect.getattr_static(kit, name):
            yield f"{name} is {'overridden' if callable(now) else 'deleted'}"


def _unknown(kit: type, capabilities: Capabilities) -> Iterator[str]:
    for name in sorted(capabilities.waived.keys() - standard_tests(kit)):
        yield f"{name} is waived, but there is no such standard test"
