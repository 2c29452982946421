"""Every test here ends with no process of ours left, or it fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Unpack

import psutil
import pytest

from tests.worker import MARK, Opener, Settings
from vqa_engine.adapter import AdapterSpec, ModelRef
from vqa_engine.worker import Timeouts, WorkerSession


@pytest.fixture(autouse=True)
def nobody_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that a test starts inherits a mark, orphans and strangers' groups included."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield
    until = monotonic() + 10
    while (left := marked(mark)) and monotonic() < until:
        sleep(0.02)
    assert not left
    assert not psutil.Process().children(recursive=True)


def marked(mark: str) -> list[str]:
    """The living processes that carry a mark in their environment."""
    return [str(process) for process in psutil.process_iter() if _has(process, mark)]


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and process.pid != psutil.Process().pid
    except psutil.Error:
        return False


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
