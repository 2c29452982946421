"""Options from a TOML file: `--config FILE`; the command line takes precedence."""

from __future__ import annotations

import difflib
import math
import tomllib
from pathlib import Path
from typing import Any

import click

_LARGEST = 1 << 20
"""Bytes of a file of options."""


def _read(ctx: click.Context, _parameter: click.Parameter, file: Path | None) -> None:
    if file is not None:
        ctx.default_map = {**(ctx.default_map or {}), **_options(ctx, file)}


config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read,
    is_eager=True,
    expose_value=False,
    help="TOML file; any option can be set in it, such as `max-tokens = 8`, those of one command "
    "in a table [COMMAND].",
)
"""Reads the file into click's defaults, so that each option checks its value as usual."""


def _options(ctx: click.Context, file: Path) -> dict[str, Any]:
    from vqa_engine.files import read_regular  # brings the engine, which --help does without

    try:
        settings = tomllib.loads(read_regular(file, _LARGEST).decode())
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error
    except RecursionError as error:
        raise click.UsageError(f"{file} is nested too deeply.") from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of too many digits
        raise click.UsageError(f"{file} is not valid TOML: {error}") from error
    commands = _command_names(ctx) & settings.keys()
    for name in sorted(commands):
        if not isinstance(settings[name], dict):
            raise click.UsageError(
                f"{file}: {name!r} is a command, and its options belong in a table [{name}]."
            )
    own = settings.get(ctx.command.name or "", {})
    shared = {key: value for key, value in settings.items() if key not in commands}
    return dict(_setting(ctx, file, key, value) for key, value in {**shared, **own}.items())


def _command_names(ctx: click.Context) -> set[str]:
    group = ctx.parent.command if ctx.parent else None
    return set(group.list_commands(ctx)) if isinstance(group, click.Group) else set()


def _setting(ctx: click.Context, file: Path, key: str, value: object) -> tuple[str, object]:
    """The parameter that a key sets, and its value; one value is a list of one where needed."""
    option = _option(ctx, file, key)
    values = value if isinstance(value, list) and option.multiple else [value]
    for one in values:
        if wrong := _wrong(ctx, option, one):
            raise click.UsageError(f"{file}: {key!r} {wrong}")
    return option.name or "", values if option.multiple else value


def _wrong(ctx: click.Context, option: click.Option, value: object) -> str:
    """What is wrong with one value, "" if nothing: click itself would make 1 of `true`, and 8
    of 8.9."""
    several = "a value or a list of values" if option.multiple else "a single value"
    endless = isinstance(value, float) and not math.isfinite(value)
    whole = isinstance(option.type, click.types.IntParamType)
    rules = (
        (isinstance(value, dict | list), f"be {several}"),
        (isinstance(value, bool) and not option.is_flag, "not be true or false"),
        (option.is_flag and not isinstance(value, bool), "be true or false"),
        (not isinstance(value, str | int | float), "be a text or a number"),
        (isinstance(option.type, click.Path) and not isinstance(value, str), "be a path"),
        ("\0" in str(value), "have no NUL in it"),
        (endless, "be a finite number"),
        (whole and isinstance(value, float), "be a whole number"),
    )
    if rule := next((rule for broken, rule in rules if broken), ""):
        return f"must {rule}."
    try:
        option.type.convert(value, option, ctx)
    except click.BadParameter as error:
        return f"cannot be {value!r:.100}: {error.message}"
    return ""


def _option(ctx: click.Context, file: Path, key: str) -> click.Option:
    """The option that a key means, by any of its long names."""
    known = {
        flag.lstrip("-"): option
        for option in ctx.command.params
        if isinstance(option, click.Option) and not option.is_eager
        for flag in (*option.opts, *option.secondary_opts)
        if flag.startswith("--")
    }
    found = known.get(key.replace("_", "-"))
    if found is None:
        close = difflib.get_close_matches(key.replace("_", "-"), known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise click.UsageError(f"{file}: {ctx.command.name} has no option {key!r}.{hint}")
    return found
