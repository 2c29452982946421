"""Fixtures of the torch tests: checkpoints made in the process that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.torch import inside
from tests.torch.inside import Remote

Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def process(torch_process: ProcessPoolExecutor) -> ProcessPoolExecutor:
    """The process with torch in it."""
    return torch_process


@pytest.fixture(scope="session")
def folder(process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The tiny checkpoint of a kind, made when it is first asked for."""
    root = tmp_path_factory.mktemp("torch")
    return lambda kind: process.submit(inside.write, root / kind, kind).result()


@pytest.fixture
def smol(process: ProcessPoolExecutor, folder: Folder) -> Iterator[Remote]:
    """The smallest model, loaded, for what does not depend on the family."""
    remote = Remote(process, "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch")
    assert remote.load(folder("idefics3")) is None
    yield remote
    remote.call("release")
