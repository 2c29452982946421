"""The documentation that comes with the package, and the help that leads to it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.environments import ROOT
from vqa_engine_cli.docs import pages, rendered
from vqa_engine_cli.help import PAGES as EXPLAINED
from vqa_engine_cli.main import cli


def said(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def test_every_page_of_the_documentation_is_listed_with_its_title() -> None:
    lines = said("docs").output.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines[: lines.index("")])
    assert listed.keys() == {"readme", *(file.stem for file in (ROOT / "docs").glob("*.md"))}
    assert listed["memory"] == "Memory: fast by default, narrowed when it must be"


@pytest.mark.parametrize("name", ["memory", "memory.md", "docs/memory.md", "Memory"])
def test_a_page_is_piped_as_it_is(name: str) -> None:
    assert said("docs", name).stdout == (ROOT / "docs" / "memory.md").read_text()


def test_the_readme_is_a_page() -> None:
    assert said("docs", "readme").stdout == (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("typed", "advice"),
    [("memry", "Did you mean 'memory'?"), ("for_operators", "Did you mean"), ("zzz", "See vqa-")],
)
def test_a_mistyped_page_is_answered_with_the_nearest(typed: str, advice: str) -> None:
    result = said("docs", typed)
    assert result.exit_code == 2
    assert advice in result.output


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("file", pages().values(), ids=lambda file: file.stem)
def test_a_terminal_shows_a_page_without_its_markup(file: Path, width: int) -> None:
    shown = rendered(file.read_text(), width)
    assert not re.search(r"^```|\]\([\w/-]+\.md", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= width


def test_a_terminal_shows_what_a_file_is_called_and_the_command_of_a_linked_page() -> None:
    shown = rendered('```python title="a.py"\nx = 1\n```\nSee [JSON](json.md), [x.md](x.md).', 80)
    assert "a.py:" in shown
    assert "See JSON (vqa-engine docs json), vqa-engine docs x." in shown


def commands() -> set[str]:
    return set(cli.commands) - {"docs", "help"}


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_help_of_a_command_names_the_page_that_explains_it(name: str) -> None:
    with click.Context(cli.commands[name], info_name=name) as context:
        assert f"More: vqa-engine docs {EXPLAINED[name][0]}" in context.get_help()
    assert set(EXPLAINED[name]) <= set(pages())
    assert f"vqa-engine {name}" in pages()[EXPLAINED[name][0]].read_text() or name == "run"


def test_the_help_of_the_program_leads_to_the_pages() -> None:
    assert "More: vqa-engine docs" in said("--help").output
