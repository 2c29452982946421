from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine's cache, for this test alone."""
    folder = tmp_path / "engine-cache"
    monkeypatch.setenv("VQA_ENGINE_CACHE", str(folder))
    return folder
