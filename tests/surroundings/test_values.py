"""Hostile values at every option of every command, and at every key of a file of options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqa_engine_cli.main import cli

SKIPPED = {"help", "version"}


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, with the words that call it."""
    for name, one in group.commands.items():
        yield (*path, name), one
        if isinstance(one, click.Group):
            yield from commands(one, *path, name)


ALL = dict(commands(cli))
OPTIONS = [
    (words, option)
    for words, command in ALL.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.is_flag and option.name not in SKIPPED
]
NUMBERS = [
    (words, option)
    for words, option in OPTIONS
    if isinstance(option.type, click.IntRange | click.FloatRange)
    or option.type is click.INT
    or option.name in {"token_limits", "temperatures", "image_longest_edge"}
]
BAD_NUMBERS = ["nan", "inf", "-inf", "1e999", "true", "[1]", "1_0,5", "-1", "", "9" * 5000, "0x10"]
BAD_TOML = ["nan", "inf", "true", "[1, [2]]", "{a = 1}", "1979-05-27", "07:32:00", '"x"']


def refused(said: Result) -> str:
    """The one sentence of a command that was refused."""
    assert said.exit_code in {1, 2}, said.output
    assert "which is a bug" not in said.stderr, said.stderr
    assert "Traceback" not in said.stderr
    sentences = [line for line in said.stderr.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1, said.stderr
    return sentences[0]


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are parsed, and no command does its work."""
    for command in ALL.values():
        monkeypatch.setattr(command, "callback", lambda *_given, **_more: None)


@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_what_is_no_number_is_refused_by_name(value: str) -> None:
    for words, option in NUMBERS:
        if not (value == "-1" and option.name == "seed"):
            said = refused(CliRunner().invoke(cli, [*words, f"{option.opts[0]}={value}"]))
            assert option.opts[0] in said, (words, option.opts, said)


@pytest.mark.parametrize("value", BAD_TOML)
def test_what_a_file_of_options_cannot_mean_is_refused_with_file_and_key(
    value: str, tmp_path: Path
) -> None:
    file = tmp_path / "options.toml"
    for words, option in NUMBERS:
        if not any("--config" in one.opts for one in ALL[words].params):
            continue
        key = option.opts[0].removeprefix("--")
        file.write_text(f"{key} = {value}")
        said = refused(CliRunner().invoke(cli, [*words, "--config", str(file)]))
        assert str(file) in said, (words, said)
        assert key in said, (words, said)


scalars = st.one_of(
    *(st.booleans(), st.integers(), st.floats(), st.text(max_size=400)),
    *(st.dates(), st.times(), st.datetimes()),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.sampled_from(OPTIONS),
    value=scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(), scalars),
)
def test_any_value_of_any_key_is_used_or_refused(
    chosen: tuple[tuple[str, ...], click.Option], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, option = chosen
    key = option.opts[0].removeprefix("--")
    monkeypatch.setattr("vqa_engine_cli.config.tomllib.loads", lambda _text: {key: value})
    if any("--config" in one.opts for one in ALL[words].params):
        said = CliRunner().invoke(cli, [*words, "--config", __file__])
        if said.exit_code:
            refused(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["a\0b", "n" * 300, "\udcff.jsonl", "/proc/1/mem", "~nobody-such/x"]
)
def test_a_path_that_no_file_has_is_refused_or_left_to_the_command(
    value: str, tmp_path: Path
) -> None:
    for words, option in OPTIONS:
        if isinstance(option.type, click.Path) and "\0" not in value:
            said = CliRunner().invoke(cli, [*words, option.opts[0], value])
            if said.exit_code:
                refused(said)
        if (
            any("--config" in one.opts for one in ALL[words].params)
            and option.opts[0] != "--config"
        ):
            file = tmp_path / "options.toml"
            file.write_text(f"{option.opts[0][2:]} = {json.dumps(value)}", "utf-8")
            said = CliRunner().invoke(cli, [*words, "--config", str(file)])
            if said.exit_code:
                refused(said)
