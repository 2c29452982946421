"""A run that nothing can end: real SIGKILLs, and every answer exactly once.

`benchmarks/survival.py` makes a hundred of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.survival import recorded, torment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobody_left")]


def test_kills_lose_nothing_and_change_nothing(tmp_path: Path) -> None:
    undisturbed = torment(tmp_path / "calm", count=100, kills=0, seed=1)
    account = torment(tmp_path / "wild", count=100, kills=30, seed=1)
    assert undisturbed.kills == 0
    assert account.kills >= 30
    assert min(account.workers, account.hosts) > 8
    assert recorded(tmp_path / "wild") == recorded(tmp_path / "calm")
    assert len(recorded(tmp_path / "wild")) == 100
