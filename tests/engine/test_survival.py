"""A run that nothing can end: a hundred real SIGKILLs, and every answer exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.survival import recorded, torment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobody_left")]


@pytest.mark.timeout(600)
def test_a_hundred_kills_lose_nothing_and_change_nothing(tmp_path: Path) -> None:
    undisturbed = torment(tmp_path / "calm", count=300, kills=0, seed=1)
    account = torment(tmp_path / "wild", count=300, kills=100, seed=1)
    assert undisturbed.kills == 0
    assert account.kills >= 100
    assert min(account.workers, account.hosts) > 20
    assert recorded(tmp_path / "wild") == recorded(tmp_path / "calm")
    assert len(recorded(tmp_path / "wild")) == 300
