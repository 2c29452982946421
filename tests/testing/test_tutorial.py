"""The tutorial is run as it is written: its files are made, its commands typed, in order."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT, Environment, Wheels, run
from tests.pages import Block, blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault

TUTORIAL = ROOT / "docs" / "write-an-adapter.md"


class Reader:
    """Somebody who follows the tutorial, in a folder and an environment of their own."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        self.folder, self._environment = folder, environment

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.language == "console":
            self._type(block)
        else:
            block.write(self.folder)

    def _type(self, block: Block) -> None:
        for command, wanted in block.commands():
            said = run(self._translated(command), cwd=self.folder, code=block.code)
            assert re.search(wanted, said, re.DOTALL), f"{command} said:\n{said}"

    def _translated(self, command: str) -> list[str]:
        """The command in this environment, which has our pip, and no network."""
        program, *arguments = shlex.split(command)
        python = str(self._environment.python)
        if program == "pip":
            pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
            offline = ["--no-build-isolation", "--no-deps", "--no-index"]
            return [*pip, "--disable-pip-version-check", *offline, *arguments[1:]]
        if program in ("python", "pytest"):
            return [python, *(["-m", "pytest"] if program == "pytest" else []), *arguments]
        return [str(self._environment.folder / "bin" / program), *arguments]


@pytest.fixture(scope="module")
def reader(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader with vqa-engine installed, and an empty folder."""
    environment = Environment.make(tmp_path_factory.mktemp("tutorial") / "environment")
    environment.install(wheels, "vqa-engine", engine=True)
    return Reader(tmp_path_factory.mktemp("hello"), environment)


@pytest.mark.parametrize("section", sorted({block.section for block in blocks(TUTORIAL)}))
def test_the_section_works_as_it_is_written(section: int, reader: Reader) -> None:
    for block in blocks(TUTORIAL):
        if block.section == section:
            reader.follow(block)


def test_the_first_adapter_has_about_ten_lines_and_its_project_six() -> None:
    first, project, *_ = blocks(TUTORIAL)
    assert len([line for line in first.text.splitlines() if line]) <= 11
    assert len(project.text.splitlines()) == 6
