"""The self-test: what it chooses, what it counts as right, what it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from vqa_engine import selftest as test
from vqa_engine.plugins.probe.report import PluginReport
from vqa_engine.questions import load_questions
from vqa_engine_cli.selftest import selftest


def plugin(name: str, **facts: str) -> PluginReport:
    """A healthy adapter of ours with a default checkpoint."""
    return PluginReport(
        **{
            "group": "vqa_engine.adapters",
            "name": name,
            "state": "healthy",
            "distribution": "vqa-engine",
            "version": "1",
            "target": "x:Y",
            "model": "owner/model",
            **facts,
        }  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("text", "right"),
    [("Red.", True), ("It is red", True), ("redder", False), ("blue", False), ("", False)],
)
def test_an_answer_is_right_if_the_word_is_in_it(text: str, right: bool) -> None:
    assert test.is_right(text, ("red",)) is right


def test_there_are_a_dozen_questions_about_committed_pictures() -> None:
    questions = list(load_questions(test.QUESTIONS))
    assert len(questions) == 12
    assert all(one.answers for one in questions)
    for question in questions:
        assert isinstance(question.image, Path)
        with Image.open(question.image) as image:
            assert min(image.size) >= 300


def test_only_what_is_here_is_chosen() -> None:
    found = [
        plugin("gone", absent="pip install it"),
        plugin("away"),
        plugin("broken", state="broken", reason="no"),
    ]
    chosen, left = test.choose(found, download=False)
    assert chosen == []
    assert left["away"] == test.NOT_HERE
    assert left["broken"] == "no"


def test_with_leave_to_download_more_is_chosen() -> None:
    found = [plugin("gone", absent="pip install it"), plugin("away")]
    chosen, left = test.choose(found, download=True)
    assert [one.name for one in chosen] == ["away"]
    assert set(left) == {"gone"}


@pytest.mark.slow
def test_one_line_and_one_file(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    asked = ["--adapter", "smolvlm@builtin", "--output", str(output)]
    done = CliRunner().invoke(selftest, asked)
    assert done.exit_code == 0, done.output
    assert re.search(r"smolvlm@builti.*│ +\d+ of 12 │", done.output)
    (tried,) = json.loads(output.read_text())["tried"]
    assert len(tried["asked"]) == 12
    assert tried["backend"] == "mlx"
    assert all(one["image_tokens"] for one in tried["asked"])


@pytest.mark.slow
def test_what_cannot_run_is_in_the_file(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    asked = ["--adapter", "llava_mlx@/nowhere", "--output", str(output)]
    done = CliRunner().invoke(selftest, asked)
    assert done.exit_code == 1
    assert "cannot run" in done.output
    (tried,) = json.loads(output.read_text())["tried"]
    assert "no such folder" in tried["error"]
