"""Every test here ends with no process of ours left, or it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest

from tests.worker import Opener, Settings
from vqa_engine.adapter import ModelRef
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import Timeouts, WorkerSession


@pytest.fixture(autouse=True)
def _nobody_left(nobody_left: None) -> None:
    """Of every test here, not only of those that ask."""


@pytest.fixture
def open_session(tmp_path: Path) -> Iterator[Opener]:
    """Makes sessions over the adapters of this folder, and releases them at the end."""
    opened: list[WorkerSession] = []

    def make(
        adapter: str,
        *,
        options: dict[str, object] | None = None,
        python: Path | None = None,
        label: str | None = None,
        **settings: Unpack[Settings],
    ) -> WorkerSession:
        spec = AdapterSpec(
            name=adapter.lower(),
            label=label or adapter.lower(),
            target=f"tests.worker.adapters:{adapter}",
            model=ModelRef(options=options or {}),
            python=python,
        )
        settings.setdefault("timeouts", Timeouts(load=60, answer=20, stop=2))
        settings.setdefault("log_directory", tmp_path / "logs")
        session = WorkerSession(spec, **settings)
        opened.append(session)
        return session

    yield make
    for session in opened:
        session.release()
