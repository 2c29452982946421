"""Four new users: each page is followed as it is written, and what it shows is what they see."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.builders import a_distribution
from tests.environments import ROOT
from tests.pages import Block, blocks
from vqa_engine_cli.run import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

DOCS = ROOT / "docs"
PAGES = ("for-researchers", "for-engineers", "for-operators", "publish-an-adapter")
NARROW, WIDE = 80, 120


class Walker:
    """Somebody who follows a page in an empty folder, with vqa-engine installed."""

    def __init__(self, folder: Path, columns: int) -> None:
        self.folder, self._site = folder, folder / "site"
        path = filter(None, (str(self._site), str(folder), os.environ.get("PYTHONPATH")))
        self._environment = {
            **os.environ,
            "PYTHONPATH": ":".join(path),
            "COLUMNS": str(columns),
        }

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.language != "console":
            block.write(self.folder)
            return
        for command, wanted in block.commands():
            said = self._type(command, block.code)
            assert re.search(wanted, said, re.DOTALL), f"{command} said:\n{said}"

    def look(self, block: Block) -> None:
        """Repeat the commands of a block that only show something, such as tables."""
        for command, wanted in block.commands() if block.language == "console" else ():
            if re.search(r"\b(score|show)\b", command):
                assert re.search(wanted, self._type(command, block.code), re.DOTALL)

    def _type(self, command: str, code: int) -> str:
        program, *arguments = shlex.split(command)
        if program == "pip":
            self._install()
            return ""
        start = {
            "python": [sys.executable],
            "vqa-engine": [sys.executable, "-m", "vqa_engine_cli"],
        }
        done = subprocess.run(
            [*start.get(program, [program]), *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def _install(self) -> None:
        """What `pip install --editable .` does to the metadata, without a network."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        points = project["entry-points"]["vqa_engine.adapters"]
        a_distribution(self._site, project["name"], points, version=project["version"])
        (metadata,) = self._site.glob("*/METADATA")
        metadata.write_text(f"{metadata.read_text()}License-Expression: {project['license']}\n")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_is_written(page: str, tmp_path: Path) -> None:
    walker = Walker(tmp_path, NARROW)
    for block in blocks(DOCS / f"{page}.md"):
        walker.follow(block)
    if page == "for-researchers":
        walker = Walker(tmp_path, WIDE)
        for block in blocks(DOCS / f"{page}.md"):
            walker.look(block)


@pytest.mark.parametrize(
    ("title", "pattern"),
    [
        ("vqa-night.service", r"ExecStart=\S+vqa-engine (.*)"),
        ("crontab", r"vqa-engine (.*?) >>"),
        ("Containerfile", r"^CMD (\[.*\])"),
    ],
)
def test_the_operator_s_files_use_options_that_there_are(
    title: str, pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = blocks(DOCS / "for-operators.md")
    next(one for one in page if one.title == "night.toml").write(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = next(one.text for one in page if one.title == title)
    (found,) = re.findall(pattern, text, re.MULTILINE)
    arguments = json.loads(found) if found.startswith("[") else shlex.split(found)
    given = run.make_context("run", arguments).params
    assert (given["output"], given["max_failures"]) == (Path("runs/night"), 500)
