"""A disk that fills while something is downloaded: one sentence, and the same command goes on."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tests.checkpoints.fake_hub import FakeHub
from tests.questions.tasks.test_hub import hub as datasets
from tests.questions.tasks.test_hub import task
from vqa_engine.adapter import ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.builtin import CHECKPOINT
from vqa_engine_adapters.checkpoints import transfer
from vqa_engine_adapters.mlx.smolvlm import SmolVlm
from vqa_engine_cli.main import cli

pytest_plugins = ("tests.checkpoints.hub_fixtures",)
pytestmark = pytest.mark.slow
__all__ = ["datasets"]

Resize = Callable[[str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the hub has."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "model"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 KiB, on systems that let us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)):
        pytest.skip("this user cannot mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(*words: str) -> int:
    if shutil.which("mount") is None:
        return 1
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode


def grow(disk: Path) -> None:
    """Make room on it."""
    assert _mount("-o", "remount,size=64m", str(disk)) == 0


@pytest.mark.parametrize("known", [True, False])
def test_pull_on_a_full_disk_continues_once_there_is_room(
    disk: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """`known` is that the system says so before the download, which some disks do not."""
    monkeypatch.setenv("HF_HUB_CACHE", str(disk / "cache"))
    if not known:
        (disk / "fills").write_bytes(b"x")
        inside(disk, monkeypatch)
        return
    refused = CliRunner().invoke(cli, ["pull", "owner/tiny"])
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "Make room" in refused.stderr
    grow(disk)
    assert CliRunner().invoke(cli, ["pull", "owner/tiny"]).exit_code == 0


def inside(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in this process, where a disk can be said to have room."""
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(disk / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    monkeypatch.setattr(transfer, "LARGE", 1 << 10)
    fetch = SmolVlm().fetch
    with pytest.raises(CheckpointError, match=r"cannot be stored.*Make room") as error:
        fetch(ModelRef(model="owner/tiny"), lambda _: None)
    assert "\n" not in str(error.value)
    grow(disk)
    fetch(ModelRef(model="owner/tiny"), lambda _: None)


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "VQA_ENGINE_CACHE"])
def test_a_tasks_data_on_a_full_disk_continues_once_there_is_room(
    disk: Path,
    datasets: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setenv("VQA_ENGINE_CACHE", str(tmp_path / "engine-cache"))
    if variable == "HF_HUB_CACHE":
        monkeypatch.setattr(constants, variable, str(disk / "cache"))
    monkeypatch.setenv(variable, str(disk / "cache"))
    (disk / "fills").write_bytes(bytes(28 << 10))
    words = ["tasks", "show", task(tmp_path).source, "--download"]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 1
    sentences = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1, refused.stderr
    assert "Make room" in sentences[0] or "make room" in sentences[0], sentences
    assert "network" not in sentences[0]
    grow(disk)
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
