"""Fresh environments: wheels built from the checkout, installed where the checkout is not."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
LONGEST = 900


@frozen
class Wheels:
    """A folder of wheels, for `pip --find-links`."""

    folder: Path

    def build(self, project: Path) -> None:
        """Build one project's wheel, with the hatchling that is here: nothing is downloaded."""
        command = [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(self.folder),
        ]
        run(command, cwd=project)


@frozen
class Environment:
    """A virtual environment. Third parties' libraries come from ours, vqa-engine does not."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Environment:
        """A new one, without pip: ours installs into it."""
        venv.create(folder, with_pip=False, symlinks=True)
        paths = {path for path in sys.path if path.endswith("site-packages")}
        (site,) = folder.glob("lib/*/site-packages")
        (site / "libraries.pth").write_text("\n".join(sorted(paths)))
        return cls(folder)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, wheels: Wheels, *names: str, engine: bool = False, code: int = 0) -> str:
        """Install by name from wheels alone; what pip said.

        With `engine` it is vqa-engine itself: its metadata is visible among the libraries,
        and must be passed over.
        """
        over = ["--no-deps", "--ignore-installed"] if engine else []
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        quiet = ["--disable-pip-version-check", "--no-index", "--find-links", str(wheels.folder)]
        return run([*pip, *quiet, *over, *names], code=code)

    def run(self, *arguments: str, cwd: Path, code: int = 0) -> str:
        """Run its Python."""
        return run([str(self.python), *arguments], cwd=cwd, code=code)

    def engine(self, *arguments: str, cwd: Path, code: int = 0) -> str:
        """Run its `vqa-engine` command."""
        return run([str(self.folder / "bin" / "vqa-engine"), *arguments], cwd=cwd, code=code)


def run(command: list[str], *, cwd: Path | None = None, code: int = 0) -> str:
    """Run a command that must end with `code`; its standard output, or all it said on error."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    done = subprocess.run(
        command,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == code, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr
