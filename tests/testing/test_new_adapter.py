"""The package that `vqa-engine new-adapter` writes passes its own tests, unedited."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from tests.environments import run
from vqa_engine.errors import ConfigurationError
from vqa_engine.scaffold import Names, new_adapter

pytestmark = pytest.mark.timeout(1200)  # a loaded machine is slow, and that is no fault

COMMAND = (sys.executable, "-c", "from vqa_engine_cli.main import main; main()")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package, written by the command."""
    folder = tmp_path_factory.mktemp("new")
    said = run([*COMMAND, "new-adapter", "far-sight"], cwd=folder)
    assert "vqa-engine --adapter far_sight" in said
    return folder / "vqa-engine-far-sight"


def test_it_has_all_that_a_package_needs(package: Path) -> None:
    files = {str(file.relative_to(package)) for file in package.rglob("*") if file.is_file()}
    assert files == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/vqa_engine_far_sight/__init__.py",
        "src/vqa_engine_far_sight/adapter.py",
        "src/vqa_engine_far_sight/py.typed",
        "tests/test_conformance.py",
        "tests/test_installed.py",
    }
    assert not any(
        "{{" in (package / file).read_text() for file in files - {".github/workflows/test.yml"}
    )
    commented = [one for one in (package / "README.md").read_text().splitlines() if " # " in one]
    assert len({one.index("# ") for one in commented}) == 1
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    group = project["entry-points"]["vqa_engine.adapters"]
    assert group == {"far_sight": "vqa_engine_far_sight:FarSight"}


@pytest.mark.slow
def test_installed_it_passes_its_own_tests(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(
        [
            *pip,
            "--no-deps",
            "--no-index",
            "--no-build-isolation",
            "--target",
            str(target),
            str(package),
        ]
    )
    code = f"import sys, pytest; sys.path.insert(0, {str(target)!r}); sys.exit(pytest.main(['-q']))"
    said = run([sys.executable, "-c", code], cwd=package)
    assert "30 passed" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Far Sight", "lower-case letters"),
        ("class", "not a valid"),
        ("-x", "not a valid"),
        ("9lives", "not a valid"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Names.of(name)


def test_a_name_may_come_with_its_prefix() -> None:
    assert Names.of("vqa-engine-far-sight") == Names.of("far_sight")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="already exists"):
        new_adapter("far-sight", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_without_jinja_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'vqa-engine\[template\]'"):
        new_adapter("far-sight", tmp_path / "new")
