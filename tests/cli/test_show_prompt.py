"""What `ask --show-prompt` prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import png
from vqa_engine.adapter import Answer, TokenCounts, Trace
from vqa_engine_cli.display import show_trace
from vqa_engine_cli.main import cli

TRACE = Trace(
    prompt="<image> Who?",
    prompt_ids=(1, 9, 9, 5),
    image_size=(8, 6),
    pixel_shape=(1, 3, 6, 8),
    image_positions=(1, 2),
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer("red", trace=TRACE),
            "m: prompt, 4 tokens:\n<image> Who?\n"
            "m: image 8x6, 2 tokens from position 1 on, pixels 1 x 3 x 6 x 8\n",
        ),
        (
            Answer("red", image_size=(8, 6), tokens=TokenCounts(prompt=1200, completion=1)),
            "m: this adapter does not show the prompt; 1,200 tokens\n"
            "m: image 8x6, its number of tokens is not known\n",
        ),
        (
            Answer("red", tokens=TokenCounts(prompt=12, completion=1, image=9)),
            "m: this adapter does not show the prompt; 12 tokens\n"
            "m: image of unknown size, 9 tokens\n",
        ),
    ],
)
def test_says_what_is_known_and_what_is_not(
    capsys: pytest.CaptureFixture[str], answer: Answer, expected: str
) -> None:
    show_trace("m", answer)
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("prompt", ["one word", "none", "{question} {hint}"])
def test_a_prompt_that_one_question_cannot_fill_is_refused(prompt: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    said = CliRunner().invoke(cli, ["ask", "--prompt", prompt, str(tmp_path / "a.png"), "Who?"])
    assert said.exit_code == 2
    assert f"The prompt {prompt!r} must have {{question}}" in said.stderr
