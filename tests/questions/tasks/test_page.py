"""The page is followed as it is written, with this environment's commands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT
from tests.pages import Block
from tests.testing import test_tutorial as tutorial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = ROOT / "docs" / "write-a-task.md"
FENCE = re.compile(r"^```(csv|toml|python|console)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader(tutorial.Reader):
    """Somebody who has vqa-engine installed already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _translated(self, command: str) -> list[str]:
        program, *arguments = shlex.split(command)
        return [str(Path(sys.executable).parent / program), *arguments]


def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    for match in FENCE.finditer(PAGE.read_text("utf-8")):
        reader.follow(Block(match[1], match[2], match[3], 0))
