"""What is imported with a model's library is kept from the garbage collector, and no more."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from vqa_engine.strays import MARK
from vqa_engine_adapters.importing import uncollected


def frozen() -> int:
    """Import a hundred objects; how many more are out of the collector's sight."""
    before = gc.get_freeze_count()
    with uncollected():
        made = [[made] for made in range(100)]
    found = gc.get_freeze_count() - before
    assert made
    return found


def test_the_collector_works_again_afterwards() -> None:
    with suppress(ImportError), uncollected():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        frozen()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_only_a_worker_never_looks_at_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frozen() == 0
    monkeypatch.setenv(MARK, "one")
    try:
        assert frozen() >= 100
    finally:
        gc.unfreeze()
