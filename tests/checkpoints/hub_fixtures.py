"""Fixtures of a hub on this machine, for tests that have a `folder` of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints.fake_hub import FakeHub, serving, use


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub address that nobody serves, here and in processes started."""
    use("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has the folder as `owner/tiny`."""
    assert not cache.exists()
    with serving(FakeHub({"owner/tiny": folder})) as served:
        use(served.url, cache, monkeypatch)
        yield served
