"""A package whose metadata is damaged costs its own plugins and nobody else's."""

from __future__ import annotations

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
