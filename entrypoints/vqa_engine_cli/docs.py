"""`vqa-engine docs`: the pages of the documentation, which come with the package."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from vqa_engine_cli.help import Command, did_you_mean
from vqa_engine_cli.terminal import echo, own, style, write

PAGES = Path(__file__).with_name("pages")
"""Links to docs/ in a checkout, files in a wheel; so is README.md beside it."""

README = "readme"
_ABOUT_README = "What there is: commands, question sets, scores, runs, exit codes"

WIDEST = 100
"""Columns of a line that can still be read with ease."""

_FENCE = re.compile(r'^```\w+(?:[^\n]*title="(.+?)")?[^\n]*$', re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?:docs/)?([\w-]+)\.md\)")


def _complete(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in pages() if name.startswith(typed)]


@click.command(cls=Command, short_help="Show the documentation: its pages, or one of them.")
@click.argument("page", required=False, shell_complete=_complete)
def docs(page: str | None) -> None:
    """List the pages of the documentation, or show PAGE.

    They are those of this version, and need no network. Into a file or a pipe a page is written
    as Markdown.

    \b
    Examples:
      vqa-engine docs
      vqa-engine docs for-researchers
      vqa-engine docs metrics > metrics.md
    """
    if page is None:
        _list()
        return
    name = Path(page).name.removesuffix(".md").lower()
    if name not in pages():
        known = did_you_mean(name, pages(), "vqa-engine docs")
        raise click.BadParameter(f"No such page {page!r}. {known}", param_hint="PAGE")
    text = pages()[name].read_text("utf-8")
    if sys.stdout.isatty():
        _show(text)
    else:
        write([text.encode()])


def pages() -> dict[str, Path]:
    """The files of the pages, by name."""
    files = {file.stem: file for file in sorted(PAGES.glob("*.md"))}
    return {README: PAGES.with_name("README.md"), **files}


def _list() -> None:
    width = max(map(len, pages()))
    for name, file in pages().items():
        title = file.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        title = _ABOUT_README if name == README else title
        echo(f"{style(name.ljust(width), bold=True)}  {title}")
    echo("\nvqa-engine docs PAGE shows one.")


def _show(text: str) -> None:
    """A page on the terminal; one that is longer than it, in a pager."""
    columns, lines = shutil.get_terminal_size()
    shown = rendered(text, min(columns, WIDEST))
    if shown.count("\n") < lines:
        echo(own(shown), nl=False)
    else:
        click.echo_via_pager(shown)


def rendered(text: str, width: int) -> str:
    """A page as a terminal of this width shows it."""
    from rich.markdown import Markdown
    from rich.theme import Theme

    from vqa_engine.console import PlainConsole

    plain = Theme({"markdown.code": "bold"})  # rich's own needs a dark background
    console = PlainConsole(width=width, theme=plain)
    with console.capture() as shown:
        console.print(Markdown(_readable(text), code_theme="ansi_dark", hyperlinks=False))
    return shown.get()


def _readable(text: str) -> str:
    """Markdown with what a rendering leaves out: the names of files, and where links lead."""
    return _LINK.sub(_led, _FENCE.sub(_named, text))


def _named(fence: re.Match[str]) -> str:
    """The beginning of a block, without its language, so that it is not coloured."""
    return f"`{fence[1]}`:\n\n```" if fence[1] else "```"


def _led(link: re.Match[str]) -> str:
    """A link to another page, as the command that shows it."""
    said, page = link[1], link[2].lower()
    command = f"`vqa-engine docs {page}`"
    return command if said.endswith(".md") else f"{said} ({command})"
