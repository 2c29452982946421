"""Independent implementations of the metrics, loaded to be compared with and never kept.

Packages come from PyPI without their dependencies, official repositories from GitHub or from
a mirror of it. Modules whose packages import torch are loaded with their parents' `__init__`
skipped, and what they import only to log or to call a judge is replaced by an empty module.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("lmms-eval==0.7.3", "ms-vlmeval==0.0.20", "anls==0.0.2")

REPOSITORIES = {
    "vqa": "GT-Vision-Lab/VQA",
    "mmmu": "MMMU-Benchmark/MMMU",
    "pope": "AoiDragon/POPE",
    "aokvqa": "allenai/aokvqa",
    "hallusion": "tianyi-lab/HallusionBench",
    "blink": "zeyofu/BLINK_Benchmark",
    "mathvista": "lupantech/MathVista",
}

EMPTY = (
    "loguru",
    "openai",
    "sacrebleu",
    "aiohttp",
    "Levenshtein",
    "prettytable",
    "datasets",
    "utilities",
    "load_aokvqa",
    "lmms_eval.api.registry",
    "lmms_eval.tasks._task_utils.file_utils",
    "vlmeval.smp",
    "vlmeval.smp.log",
)


class Oracles:
    """What is there of packages and repositories; a missing one is None."""

    def __init__(self, folder: Path, source: str) -> None:
        self._source = source
        self._clones = folder / "repositories"
        unpacked = folder / "packages"
        if not unpacked.exists():
            _download(folder / "wheels", unpacked)
        sys.path.insert(0, str(unpacked))
        for name in EMPTY:
            if name not in sys.modules:
                sys.modules[name] = _Anything(name)
        for package in (
            "lmms_eval",
            "lmms_eval.tasks",
            "lmms_eval.api",
            "vlmeval",
            "vlmeval.utils",
        ):
            _as_namespace(package, unpacked)
        for package in ("vlmeval.dataset", "vlmeval.dataset.utils"):
            _as_namespace(package, unpacked)

    def module(self, name: str) -> Any:
        """A module of an unpacked package."""
        return importlib.import_module(name)

    def text(self, repository: str, path: str) -> str | None:
        """A file of a repository's newest commit, None where that cannot be reached."""
        clone = self._clone(repository)
        command = ["git", "--git-dir", str(clone), "show", f"HEAD:{path}"]
        found = subprocess.run(command, capture_output=True, check=False)
        return found.stdout.decode("utf-8") if found.returncode == 0 else None

    def paths(self, repository: str, under: str) -> list[str]:
        """The files of a repository below a folder."""
        command = ["git", "--git-dir", str(self._clone(repository)), "ls-tree", "-r", "-z"]
        found = subprocess.run(
            [*command, "--name-only", "HEAD", under], capture_output=True, check=False
        )
        return [one for one in found.stdout.decode().split("\0") if one]

    def script(self, repository: str, path: str, replaced: Mapping[str, str] | None = None) -> Any:
        """A file of a repository as a module, with some of its text replaced."""
        text = self.text(repository, path)
        if text is None:
            return None
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)
        made = types.ModuleType(Path(path).stem)
        exec(compile(text, path, "exec"), made.__dict__)
        return made

    def _clone(self, repository: str) -> Path:
        owner, name = REPOSITORIES[repository].split("/")
        clone = self._clones / f"{name}.git"
        if not clone.exists():
            source = self._source.format(owner=owner, name=name)
            command = ["git", "clone", "--quiet", "--bare", "--depth", "1", source, str(clone)]
            subprocess.run(command, check=False, capture_output=True)
        return clone


class _Anything(types.ModuleType):
    """A module in which every name is there and does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()


class _Nothing:
    """A name of an empty module: an object, a function, a decorator."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **_settings: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) else self


def _as_namespace(package: str, folder: Path) -> None:
    made = types.ModuleType(package)
    made.__path__ = [str(folder.joinpath(*package.split(".")))]
    sys.modules[package] = made


def _download(wheels: Path, unpacked: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(wheels)]
    subprocess.run([*command, *PACKAGES], check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
