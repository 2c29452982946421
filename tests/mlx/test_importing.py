"""What is imported with a model's library is kept from the garbage collector, and no more."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextlib import suppress

import pytest

from vqa_engine.strays import MARK
from vqa_engine_adapters.importing import uncollected


@pytest.fixture(scope="module", autouse=True)
def quick_collector() -> None:
    """Freezing is what is tested here, so the collector is as it is in a worker."""


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
    gc.unfreeze()
    with uncollected():
        pass
    assert not gc.get_freeze_count()
    monkeypatch.setenv(MARK, "one")
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


LOOKING = """
import sys
read = []
def heard(event, given):
    if event == "open" and str(given[0]).endswith("configuration_zamba2.py"):
        read.append(given[0])
sys.addaudithook(heard)
from vqa_engine_adapters.importing import import_transformers, models
import_transformers()
import transformers
from transformers.utils.import_utils import define_import_structure
transformers.AutoProcessor
assert len(read) == 1, read
assert models() == define_import_structure(transformers.models.__file__)
assert len(read) == 2, "a look of its own has to read it again"
"""


@pytest.mark.slow
def test_transformers_looks_through_its_models_once_and_finds_all() -> None:
    subprocess.run([sys.executable, "-c", LOOKING], check=True)
