"""A finished run, and disks without room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.reporting.builders import a_run, many


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody changes."""
    return a_run(tmp_path_factory.mktemp("finished") / "run", many(12, ["a", "b"]))


@contextmanager
def room(size: int) -> Iterator[None]:
    """While the block runs, no file of this process can have more than so many bytes.

    Like a full disk, that is an error of `write`; unlike one, anybody can have it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
