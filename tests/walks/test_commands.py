"""Every command that a page shows is one that the command line takes.

This is quick; `test_walks` and `test_published` run them as well, but for those that need GPUs
or Slurm.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.environments import ROOT
from vqa_engine_cli.main import cli

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?:\S*\$ )?(?:[A-Z_]+=\S+ |srun \S+ )?vqa-engine(?: (.*))?$")
_MISTAKES = {"adaptors", "smolvml"}
"""What pages mistype on purpose, to show what happens."""


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each command in the page's fenced blocks."""
    for block in _FENCE.findall(page.read_text("utf-8")):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            for part in line.split("; "):
                match = _COMMAND.match(part.strip())
                words = shlex.split(match[1] or "", comments=True) if match else ["…"]
                if "…" not in words and not _MISTAKES.intersection(words):
                    yield words


SHOWN = sorted({(page.name, *words) for page in PAGES for words in commands(page)})


def test_the_pages_show_commands() -> None:
    assert {page for page, *_ in SHOWN} >= {"README.md", "metrics.md", "report.md", "serve.md"}
    assert len(SHOWN) > 60


@pytest.mark.parametrize("shown", SHOWN, ids=" ".join)
def test_a_command_that_a_page_shows_is_taken(shown: tuple[str, ...]) -> None:
    _, *words = shown
    try:
        with cli.make_context("vqa-engine", list(words)) as top:
            name, command, rest = cli.resolve_command(top, [*top._protected_args, *top.args])
            assert command is not None
            command.make_context(name, rest, parent=top)
    except click.exceptions.Exit:
        pass  # --help and --version do no more
    except click.BadParameter as wrong:
        if not re.search("does not exist|There is no run", wrong.message):  # the reader's own
            raise
