"""The headings of a table tell its columns apart, on a narrow screen as well."""

from __future__ import annotations

import pytest

from vqa_engine.scoring import Scoreboard, metric
from vqa_engine.scoring.report import apart, as_text, score_tables

TWO = ("mlx_vlm@mlx-community/SmolVLM-256M-Instruct", "mlx_vlm@mlx-community/SmolVLM-500M-Instruct")


@pytest.mark.parametrize(
    ("labels", "headings"),
    [
        (TWO, ["SmolVLM-256M-Instruct", "SmolVLM-500M-Instruct"]),
        (("smolvlm@builtin", "smolvlm@a/b"), ["builtin", "a/b"]),
        (("smolvlm", "smolvlm@a/b"), ["smolvlm", "smolvlm@a/b"]),
        (("smolvlm@a/b",), ["smolvlm@a/b"]),
        (("small", "terse"), ["small", "terse"]),
    ],
)
def test_a_common_prefix_goes(labels: tuple[str, ...], headings: list[str]) -> None:
    assert apart(labels) == headings


def test_two_models_of_one_adapter_differ_at_80_columns() -> None:
    table = Scoreboard(metric("vqa-v2-normalised")).snapshot()
    text = as_text(score_tables(dict.fromkeys(TWO, (table,))), width=80)
    assert "SmolVLM-256M-Instruct" in text
    assert "SmolVLM-500M-Instruct" in text
