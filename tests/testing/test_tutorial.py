"""The tutorial is run as it is written: its files are made, its commands typed, in order."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.environments import ROOT, Environment, Wheels, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault

TUTORIAL = ROOT / "docs" / "write-an-adapter.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="(.+?)"')
EXIT = re.compile(r"exit=(\d)")
SECTION = re.compile(r"^## (\d)", re.MULTILINE)


@frozen
class Block:
    """One fenced block: its language, what stands behind that, its text, its section."""

    language: str
    information: str
    text: str
    section: int


def blocks() -> list[Block]:
    """The blocks of the tutorial, in order."""
    page = TUTORIAL.read_text("utf-8")
    return [
        Block(match[1], match[2], match[3], int(SECTION.findall(page[: match.start()])[-1]))
        for match in BLOCK.finditer(page)
    ]


class Reader:
    """Somebody who follows the tutorial, in a folder and an environment of their own."""

    def __init__(self, folder: Path, environment: Environment) -> None:
        self.folder, self._environment = folder, environment

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.language == "console":
            self._type(block)
        else:
            self._write(block)

    def _write(self, block: Block) -> None:
        (title,) = TITLE.findall(block.information)
        file = self.folder / title
        before = file.read_text("utf-8") + "\n\n" if "edit" in block.information else ""
        file.write_text(before + block.text, "utf-8")

    def _type(self, block: Block) -> None:
        code = int(next(iter(EXIT.findall(block.information)), 0))
        for command, wanted in _commands(block.text):
            said = run(self._translated(command), cwd=self.folder, code=code)
            assert re.search(_pattern(wanted), said, re.DOTALL), f"{command} said:\n{said}"

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


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with the output that is shown for it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def _pattern(wanted: str) -> str:
    """A pattern for the output shown: `...` stands for anything."""
    lines = (re.escape(line).replace(r"\.\.\.", ".*") for line in wanted.strip().splitlines())
    return r"\s*".join(line.replace(r".*\ ", r".*\s*").replace(r"\ .*", r"\s*.*") for line in lines)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader with vqa-engine installed, and an empty folder."""
    wheels = Wheels(tmp_path_factory.mktemp("wheels"))
    wheels.build(ROOT)
    environment = Environment.make(tmp_path_factory.mktemp("tutorial") / "environment")
    environment.install(wheels, "vqa-engine", engine=True)
    return Reader(tmp_path_factory.mktemp("hello"), environment)


@pytest.mark.parametrize("section", sorted({block.section for block in blocks()}))
def test_the_section_works_as_it_is_written(section: int, reader: Reader) -> None:
    for block in blocks():
        if block.section == section:
            reader.follow(block)


def test_the_first_adapter_has_about_ten_lines_and_its_project_six() -> None:
    first, project, *_ = blocks()
    assert len([line for line in first.text.splitlines() if line]) <= 11
    assert len(project.text.splitlines()) == 6
