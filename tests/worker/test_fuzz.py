"""A few of the workers that `benchmarks/fuzz_wire.py` tries for minutes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
fuzz_wire: Any = import_module("fuzz_wire")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_worker_that_speaks_nonsense_ends_no_host(seed: int) -> None:
    assert fuzz_wire.attempt(seed) == ""
