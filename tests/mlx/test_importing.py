"""What is imported with a model's library is kept from the garbage collector, and no more."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from vqa_engine.strays import MARK
from vqa_engine_adapters.importing import uncollected


def test_the_collector_works_again_afterwards() -> None:
    with suppress(ImportError), uncollected():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_only_a_worker_never_looks_at_them_again_and_at_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        pass
    assert gc.get_freeze_count() == frozen
    monkeypatch.setenv(MARK, "one")
    gc.unfreeze()
    try:
        with uncollected():
            pass
        assert (first := gc.get_freeze_count()) > 0
        later: list[object] = [[] for _ in range(9)]
        with uncollected():
            later.append([])
        assert gc.get_freeze_count() == first
    finally:
        gc.unfreeze()
