"""Help for people: commands in groups, options in groups, and suggestions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

import click

from vqa_engine_cli.terminal import echo
from vqa_engine_cli.unforeseen import remember_paths

_SECTIONS = {
    "Ask": ("run", "ask", "tasks", "serve", "selftest"),
    "Look at a run": ("runs", "status", "show", "report", "view", "memory"),
    "Score": ("score", "compare", "parity", "export"),
    "Models": ("adapters", "fit", "pull", "doctor"),
    "Write an adapter": ("new-adapter", "check"),
    "Read": ("docs", "help"),
}
"""Commands by purpose; one that is in none comes last."""

PAGES = {
    "run": ("readme", "for-researchers", "for-operators", "many-places"),
    "ask": ("readme", "for-engineers"),
    "tasks": ("write-a-task",),
    "serve": ("serve",),
    "selftest": ("readme",),
    "runs": ("report",),
    "status": ("report",),
    "show": ("for-researchers",),
    "report": ("report",),
    "view": ("report",),
    "memory": ("memory",),
    "score": ("metrics", "for-researchers"),
    "compare": ("metrics",),
    "parity": ("readme",),
    "export": ("for-researchers", "json"),
    "adapters": ("readme", "backends"),
    "fit": ("readme", "memory"),
    "pull": ("readme",),
    "doctor": ("readme", "backends"),
    "new-adapter": ("write-an-adapter", "publish-an-adapter"),
    "check": ("write-an-adapter",),
}
"""The pages of the documentation that explain each command, the first one best."""

_OPTION_SECTIONS: WeakKeyDictionary[click.Parameter, str] = WeakKeyDictionary()
"""The heading of each option; see `sectioned`."""


class Command(click.Command):
    """A command whose help lists its options under headings."""

    def invoke(self, ctx: click.Context) -> Any:
        remember_paths(ctx)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None and isinstance(parameter, click.Option):
                heading = _OPTION_SECTIONS.get(parameter, "Options")
                found.setdefault(heading, []).append(line)
        last = found.pop("Options", [])
        for heading, lines in (*found.items(), ("Options", last)):
            if lines:
                with formatter.section(heading):
                    formatter.write_dl(lines)


def sectioned(heading: str, command: Any) -> None:
    """Give the option that a decorator has just added to `command` its heading."""
    _OPTION_SECTIONS[command.__click_params__[-1]] = heading


def format_commands(commands: Mapping[str, click.Command], formatter: click.HelpFormatter) -> None:
    """The commands by section."""
    listed = {name for names in _SECTIONS.values() for name in names}
    others = tuple(name for name in commands if name not in listed)
    for heading, names in {**_SECTIONS, "Other": others}.items():
        lines = [
            (name, commands[name].get_short_help_str(70)) for name in names if name in commands
        ]
        if lines:
            with formatter.section(heading):
                formatter.write_dl(lines)


def more(command: str) -> str | None:
    """The last line of a command's help: where to read more about it."""
    if command not in PAGES:
        return None
    first, *others = PAGES[command]
    return f"More: vqa-engine docs {first}" + (f" (or {', '.join(others)})" if others else "")


def did_you_mean(name: str, known: Iterable[str], all_of_them: str = "vqa-engine --help") -> str:
    """The closest known name, or the command that lists all of them."""
    close = get_close_matches(name.replace("_", "-"), list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"See {all_of_them}."


@click.command("help")
@click.argument("command", required=False)
@click.pass_context
def help_command(ctx: click.Context, command: str | None) -> None:
    """Show this help, or that of COMMAND."""
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    if command is None:
        echo(group.get_help(ctx.find_root()))
        return
    if command not in group.commands:
        ctx.fail(f"No such command {command!r}. {did_you_mean(command, group.commands)}")
    found = group.commands[command]
    with click.Context(found, info_name=command, parent=ctx.find_root()) as inner:
        echo(found.get_help(inner))
