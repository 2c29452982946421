"""Packages of third parties, built and installed where no checkout is on the path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import png
from tests.environments import ROOT, Environment, Wheels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # a loaded machine is slow, and that is no fault
]

EVERYBODY = ("colour_average", "old_palette", "smolvlm")


@pytest.fixture(scope="module")
def ours(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment of vqa-engine and of the colour average."""
    return _environment(wheels, tmp_path_factory.mktemp("ours"), "vqa-engine-colour-average")


@pytest.fixture(scope="module")
def theirs(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Another one, for the adapter that needs the old library."""
    return _environment(wheels, tmp_path_factory.mktemp("theirs"), "vqa-engine-old-palette")


def _environment(wheels: Wheels, folder: Path, package: str) -> Environment:
    made = Environment.make(folder / "environment")
    made.install(wheels, "vqa-engine", engine=True)
    made.install(wheels, package)
    return made


def test_the_engine_that_runs_is_the_wheel(ours: Environment, tmp_path: Path) -> None:
    code = "import sys, vqa_engine, vqa_engine_cli; print(vqa_engine.__file__); print(*sys.path)"
    file, path = ours.run("-c", code, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(ours.folder)
    assert str(ROOT / "core") not in path.split()


def test_the_documentation_is_in_the_wheel(ours: Environment, tmp_path: Path) -> None:
    listed = ours.engine("docs", cwd=tmp_path)
    assert all(page.stem in listed for page in (ROOT / "docs").glob("*.md"))
    shown = ours.engine("docs", "for-researchers", cwd=tmp_path)
    assert shown == (ROOT / "docs" / "for-researchers.md").read_text()
    assert ours.engine("docs", "readme", cwd=tmp_path).startswith("# vqa-engine")


def test_the_plugin_is_listed_with_all_its_facts(ours: Environment, tmp_path: Path) -> None:
    listed = json.loads(ours.engine("adapters", "--json", cwd=tmp_path))
    (found,) = (one for one in listed if one["name"] == "colour_average")
    assert found == {
        "name": "colour_average",
        "state": "healthy",
        "distribution": "vqa-engine-colour-average",
        "version": "1.0",
        "target": "vqa_engine_colour_average:ColourAverage",
        "backend": "none",
        "weights": None,
        "model": "palette-words 2",
        "reason": None,
        "remedy": None,
    }


def test_it_answers_about_a_picture(ours: Environment, tmp_path: Path) -> None:
    (tmp_path / "sky.png").write_bytes(png(colour="blue"))
    asked = ("ask", "-a", "colour_average", "sky.png", "What colour is the sky?")
    assert ours.engine(*asked, cwd=tmp_path) == "blue\n"


def test_it_proves_itself_by_the_kit_in_the_wheel(ours: Environment, tmp_path: Path) -> None:
    told = json.loads(ours.engine("check", "colour_average", "--json", cwd=tmp_path))
    assert [one["test"] for one in told["tests"] if one["state"] == "failed"] == []
    assert told["passed"]


def test_the_two_cannot_be_installed_together(
    wheels: Wheels, ours: Environment, tmp_path: Path
) -> None:
    both = ("vqa-engine-colour-average", "vqa-engine-old-palette")
    assert "conflicting dependencies" in ours.install(wheels, *both, code=1)


def test_yet_they_run_beside_a_first_party_adapter_in_one_command(
    ours: Environment, theirs: Environment, tmp_path: Path
) -> None:
    told = ours.engine(
        *("-a", "colour_average", "-a", "old_palette", "-a", "smolvlm@builtin"),
        *("--python", f"old_palette={theirs.python}"),
        *("--questions", "shapes:seed=1,count=3", "--output", "run", "--json"),
        cwd=tmp_path,
    )
    result = json.loads(told.splitlines()[-1])
    assert result["errors"] == {}
    tallies = [(one["done"], one["failed"]) for one in result["tallies"].values()]
    assert tallies == [(3, 0)] * 3
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    origins = {one["name"]: one for one in manifest["adapters"].values()}
    assert origins["old_palette"]["distribution"] == "vqa-engine-old-palette"
    assert all(origins[name]["sha256"] for name in EVERYBODY)
