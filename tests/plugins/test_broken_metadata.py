"""A package whose metadata is damaged costs its own plugins and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest

from tests.builders import a_distribution
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.runs.provenance import libraries, version

DAMAGED = {
    "no metadata": {"entry_points.txt": b"[vqa_engine.metrics]\nodd = a:b\n"},
    "no name": {
        "METADATA": b"Version: 1\n",
        "entry_points.txt": b"[vqa_engine.metrics]\na = a:b\n",
    },
    "a line without a value": {
        "METADATA": b"Name: odd\nVersion: 1\n",
        "entry_points.txt": b"garbage\n[vqa_engine.metrics]\nodd\n",
    },
    "entry points not in UTF-8": {"entry_points.txt": b"[vqa_engine.metrics]\nodd\xff = a:b\n"},
    "metadata not in UTF-8": {
        "METADATA": b"Name: odd\xff\n",
        "entry_points.txt": b"[vqa_engine.metrics]\nodd = a:b\n",
    },
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_other_packages_keep_their_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for number in (1, 2):  # two of them, so that they are compared as well
        (tmp_path / f"odd{number}-1.dist-info").mkdir()
        for name, content in DAMAGED[kind].items():
            (tmp_path / f"odd{number}-1.dist-info" / name).write_bytes(content)
    a_distribution(tmp_path, "sound", {"sound": "a:b"}, group=plugins.METRICS)
    found = plugins.names(plugins.METRICS)
    assert {"sound", "exact"} <= set(found)
    assert len(found) == len(set(found))
    assert all(one.source for one in plugins.find(plugins.METRICS))


def test_what_is_recorded_of_a_damaged_package_is_that_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    a_distribution(tmp_path, "odd", {"odd": "a:b"})
    (tmp_path / "odd-1.0.dist-info" / "METADATA").write_bytes(b"Name: odd\xff\n")
    (plugin,) = [one for one in plugins.find(plugins.ADAPTERS) if one.name == "odd"]
    assert plugin.source == "? ?"
    assert version("odd") is None
    assert libraries(plugin.entry_point.dist)["Pillow"]


def sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, 50 << 30)


PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a link to itself": lambda file: file.symlink_to(file),
    "a file of 50 GB": sparse,
}


@pytest.mark.parametrize("kind", PLACES)
def test_nobody_waits_for_what_is_no_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("entry_points.txt", "METADATA", "top_level.txt", "RECORD"):
        a_distribution(tmp_path, f"odd{name[0]}", {"odd": "a:b"}, group=plugins.METRICS)
        file = tmp_path / f"odd{name[0]}-1.0.dist-info" / name
        file.unlink(missing_ok=True)
        PLACES[kind](file)
    a_distribution(tmp_path, "sound", {"sound": "a:b"}, group=plugins.METRICS)
    assert {"sound", "exact"} <= set(plugins.names(plugins.METRICS))
    with suppress(TypeError):  # Python 3.11 has none for a package without a name
        metadata.packages_distributions()  # what transformers calls while it is imported
    assert "entry_points.txt cannot be read" in caplog.text


def test_a_pipe_on_the_path_is_no_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.syspath_prepend(tmp_path / "pipe")
    assert "exact" in plugins.names(plugins.METRICS)


def test_the_version_does_not_wait_for_a_pipe_on_the_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "vqa_engine_cli", "--version"]
    path = {**os.environ, "PYTHONPATH": str(tmp_path / "pipe")}
    said = subprocess.run(command, env=path, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.startswith("vqa-engine, version ")
