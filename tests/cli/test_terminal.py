"""What comes from outside is shown by a terminal and never obeyed."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from vqa_engine.console import PlainConsole
from vqa_engine.visible import visible
from vqa_engine_cli.main import cli
from vqa_engine_cli.terminal import VisibleFormatter, echo, style

HOSTILE = "\x1b[2J\x1b]0;title\x07 \x9b31m [red]markup[/red] [/none] \u202eevil\r:smile:"


def unseen(text: str) -> list[str]:
    """The characters that a terminal would act on, but for newlines and tabs."""
    return [one for one in text if not one.isprintable() and one not in "\n\t \u3000\xa0"]


@given(text=st.text(st.characters()))
def test_what_a_terminal_obeys_is_made_visible(text: str) -> None:
    assert not {"\x1b", "\x9b", "\r", "\x07", "\b", "\u202e"} & set(visible(text))
    assert visible(visible(text)) == visible(text)
    visible(text).encode()


@given(text=st.text(st.characters(codec="utf-8")))
def test_ordinary_text_stays(text: str) -> None:
    if not unseen(text) and "\ufeff" not in text:
        assert visible(text) == text


def test_json_stays_json() -> None:
    line = json.dumps({"said": HOSTILE}, ensure_ascii=False)
    assert json.loads(visible(line)) == {"said": HOSTILE}


def test_a_style_of_ours_is_obeyed_and_what_it_holds_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_given: False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    echo(f"{style(HOSTILE, fg='red')} and {HOSTILE}")
    said = capsys.readouterr().out
    assert said.startswith("\x1b[31m\\u001b[2J")
    assert said.count("\x1b") == 2


def test_no_color_means_no_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("Error:", fg="red", bold=True) == "Error:"
    monkeypatch.setenv("NO_COLOR", "")
    assert style("Error:", fg="red", bold=True) != "Error:"


@pytest.mark.parametrize("cell", [HOSTILE, Text(HOSTILE)])
def test_a_table_holds_hostile_names(cell: str | Text) -> None:
    shown = Table(title=HOSTILE)
    shown.add_column(HOSTILE)
    shown.add_row(cell)
    file = io.StringIO()
    PlainConsole(file=file, width=400).print(shown, HOSTILE)
    said = file.getvalue()
    assert "[red]markup[/red] [/none]" in said
    assert "\\u001b" in said
    assert not {"\x1b", "\x9b", "\r", "\x07", "\u202e"} & set(said)


def test_a_stream_that_lacks_a_character_gets_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    echo("Größe ✓")
    assert raw.getvalue() == b"Gr\\xf6\\xdfe \\u2713\n"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_not_finite_is_refused(value: str) -> None:
    said = CliRunner().invoke(cli, ["run", "--temperature", value])
    assert said.exit_code == 2
    assert "--temperature" in said.output


def test_a_pipe_is_no_file_of_options(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "options.toml")
    said = CliRunner().invoke(cli, ["run", "--config", str(tmp_path / "options.toml")])
    assert (said.exit_code, "pipe" in said.output) == (2, True)


def test_a_dumb_terminal_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    assert PlainConsole(force_terminal=True).width == 40


@given(text=st.text() | st.text(min_size=2000, max_size=2001))
def test_a_warning_is_one_short_line(text: str) -> None:
    record = logging.LogRecord("vqa_engine.some", logging.WARNING, "", 0, "%s", (text,), None)
    line = VisibleFormatter("%(levelname)s %(name)s: %(message)s").format(record)
    assert len(line.splitlines()) == 1
    assert len(line) < 1300
    assert line.startswith("Warning: ")
