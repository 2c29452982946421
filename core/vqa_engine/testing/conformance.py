"""The class that an adapter's author subclasses."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import pytest

from vqa_engine.testing.answers import AnswerTests
from vqa_engine.testing.batches import BatchTests
from vqa_engine.testing.bench import CONTRACT, PLAIN, SIGNATURES, Bench
from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.choices import ChoiceTests
from vqa_engine.testing.contract import ContractTests
from vqa_engine.testing.images import ImageTests
from vqa_engine.testing.memory import MemoryTests
from vqa_engine.testing.standard import GUARD, refuse_unguarded, tampered

_BASIC = (GUARD, CONTRACT, SIGNATURES, PLAIN)
"""Tests that all others wait for, each of them for the ones before it."""

_BENCH = "_bench"
"""The attribute of an author's class that holds its bench."""


class AdapterConformance(
    MemoryTests, ChoiceTests, BatchTests, ImageTests, AnswerTests, ContractTests
):
    """What every adapter has to do; each test's docstring says what it asks for.

    pytest runs the tests of the last base first: the contract, then answers, and so on.

    A subclass sets `adapter`: a class, a factory, or an entry-point name. It may set
    `capabilities`. A standard test that is overridden or deleted fails the suite, unless
    `capabilities.waived` gives the reason.

    Raises:
        TypeError: a subclass takes away the test that notices missing tests.
    """

    adapter: ClassVar[Any]
    capabilities: ClassVar[Capabilities] = Capabilities()
    bench: Bench

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_unguarded(cls, AdapterConformance)

    def test_standard_tests_are_all_there(self) -> None:
        """Every standard test is there as it was written, or waived with a reason."""
        wrong = tampered(type(self), AdapterConformance, self.capabilities)
        assert wrong == [], (
            "Give the reason: capabilities = Capabilities(waived={'test_name': 'why'}). "
            "Add tests of your own under other names."
        )

    @pytest.fixture(autouse=True)
    def _conformance(self, request: pytest.FixtureRequest) -> None:
        """Brings the bench to a test, or skips it: waived, or a basic test fails first."""
        name = request.function.__name__
        if name in self.capabilities.waived:
            pytest.skip(f"waived: {self.capabilities.waived[name]}")
        self.bench = _bench(request)
        if _is_standard(name) and _comes_after(name, self.bench):
            pytest.skip(f"first see {self.bench.blocked}")


def _bench(request: pytest.FixtureRequest) -> Bench:
    """The class's bench; its model is let go after the class's last test."""
    author = request.cls
    if _BENCH not in vars(author):
        # Not by attribute access: a factory function would come back as a method.
        given = inspect.getattr_static(author, "adapter", None)
        given = given.__func__ if isinstance(given, staticmethod) else given
        bench = Bench(given, author.capabilities)
        setattr(author, _BENCH, bench)
        request.node.getparent(pytest.Class).addfinalizer(lambda: _close(author))
    found: Bench = vars(author)[_BENCH]
    return found


def _close(author: type) -> None:
    bench: Bench = vars(author)[_BENCH]
    delattr(author, _BENCH)
    bench.let_go()


def _is_standard(name: str) -> bool:
    return hasattr(AdapterConformance, name)


def _comes_after(name: str, bench: Bench) -> bool:
    """Whether a test means nothing, because a basic one before it fails."""
    if name == GUARD or not bench.blocked:
        return False
    return name not in _BASIC or _BASIC.index(name) > _BASIC.index(bench.blocked)
