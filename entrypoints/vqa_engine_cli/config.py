"""Options from a TOML file: `--config FILE`; the command line wins."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

import click


def _read(ctx: click.Context, _parameter: click.Parameter, file: Path | None) -> None:
    if file is not None:
        ctx.default_map = {**(ctx.default_map or {}), **_options(ctx, file)}


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read,
    is_eager=True,
    expose_value=False,
    help="TOML file with options: `max-tokens = 8`; a table [COMMAND] is for one command.",
)
"""Reads the file into click's defaults, so that each option checks its value as usual."""


def _options(ctx: click.Context, file: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} is no valid TOML: {error}") from error
    commands = _command_names(ctx)
    own = settings.get(ctx.command.name or "", {})
    shared = {key: value for key, value in settings.items() if key not in commands}
    return {_name(ctx, file, key): value for key, value in {**shared, **own}.items()}


def _command_names(ctx: click.Context) -> set[str]:
    group = ctx.parent.command if ctx.parent else None
    return set(group.list_commands(ctx)) if isinstance(group, click.Group) else set()


def _name(ctx: click.Context, file: Path, key: str) -> str:
    """The parameter that a key sets, by any of its long option names."""
    names = {
        flag.lstrip("-"): parameter.name
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option) and parameter.name
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    }
    found = names.get(key.replace("_", "-"))
    if found is None:
        close = difflib.get_close_matches(key.replace("_", "-"), names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise click.UsageError(f"{file}: {ctx.command.name} has no option {key!r}.{hint}")
    return found
