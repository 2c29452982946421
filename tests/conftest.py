"""Settings of every test, and the check that it leaves no process behind."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import psutil
import pytest
from hypothesis import settings

from tests.environments import EXAMPLES, ROOT, Wheels
from tests.torch import inside
from vqa_engine.session.notes import OURS

# A loaded machine is slow, and that is no fault: timings belong in benchmarks. The same
# examples in each run, so that a change is judged by what it changes; `pytest
# --hypothesis-profile new` draws new ones.
settings.register_profile("new", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")

# A job in a script's background ignores Ctrl-C, and all that it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads of torch wait for each other busily, and the tests' processes keep all cores at work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MARK = "VQA_ENGINE_TEST_MARK"
"""The environment variable that marks every process that a test starts."""


@pytest.fixture(scope="module", autouse=True)
def quick_collector() -> Iterator[None]:
    """The collector looks at what a module's tests made, and at nothing older.

    With torch, transformers and Ray imported a full collection takes a third of a second. Each
    load makes one, and each release gives it everything to look at again.
    """
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        for call in ("freeze", "unfreeze"):
            patch.setattr(gc, call, lambda: None)
        yield
        gc.collect()


@pytest.fixture(autouse=True)
def nobody_listening() -> Iterator[None]:
    """No test leaves a session listening to our loggers: a later test would hear it."""
    before, root = _listening(), logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)  # the code of a worker, run in a test's own process, sets it
    assert _listening() == before


def _listening() -> list[logging.Handler]:
    return [handler for name in OURS for handler in logging.getLogger(name).handlers]


@pytest.fixture(scope="session")
def torch_process() -> Iterator[ProcessPoolExecutor]:
    """One process with torch in it and without MLX, for all that runs on torch.

    Importing torch takes longest, and a process that has MLX's models in it cannot do so.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=inside.start) as pool:
        yield pool


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """vqa-engine and all the examples, built from the checkout."""
    made = Wheels(tmp_path_factory.mktemp("wheels"))
    for project in (ROOT, *(file.parent for file in EXAMPLES.glob("*/pyproject.toml"))):
        made.build(project)
    return made


@pytest.fixture(scope="session")
def temporary() -> Iterator[Path]:
    """This session's own folder for temporary files, which workers inherit; for every user."""
    with TemporaryDirectory(prefix="tests-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o1777)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture(autouse=True)
def nothing_left(temporary: Path) -> Iterator[None]:
    """No test leaves a temporary file of ours."""
    before = set(temporary.glob("vqa-engine-*"))
    yield
    assert set(temporary.glob("vqa-engine-*")) <= before


@pytest.fixture
def nobody_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that a test starts inherits a mark, orphans and strangers' groups included.

    What an earlier test's library keeps for good (multiprocessing's tracker) is not this
    test's.
    """
    mark, before = uuid.uuid4().hex, set(psutil.Process().children(recursive=True))
    monkeypatch.setenv(MARK, mark)
    yield
    until = monotonic() + 10
    while (left := marked(mark)) and monotonic() < until:
        sleep(0.02)
    assert not left
    assert not set(psutil.Process().children(recursive=True)) - before


def marked(mark: str) -> list[str]:
    """The living processes that carry a mark in their environment."""
    return [str(process) for process in psutil.process_iter() if _has(process, mark)]


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and process.pid != psutil.Process().pid
    except psutil.Error:
        return False
