"""What `pull` says, and what is shown of a download."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.checkpoints.fake_hub import FakeHub
from tests.checkpoints.smolvlm import write
from vqa_engine.adapter import Transfer
from vqa_engine_cli.downloads import Downloads
from vqa_engine_cli.pull import pull

pytest_plugins = ("tests.checkpoints.hub_fixtures",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the hub has."""
    return write(tmp_path / "model")


def shown(*, terminal: bool) -> str:
    """What is written of a download in 21 reports, the last of them twice."""
    written = io.StringIO()
    downloads = Downloads(Console(file=written, force_terminal=terminal, width=120))
    for done in (*range(21), 20):
        downloads.show(
            "smolvlm",
            Transfer(
                name="owner/m", folder="/cache", done=done * 10**8, total=2 * 10**9, free=9 * 10**9
            ),
        )
    return written.getvalue()


def test_a_line_for_each_tenth() -> None:
    first, *tenths = shown(terminal=False).splitlines()
    assert first == ("smolvlm: first use: downloading owner/m, 2.00 GB, to /cache (9.00 GB free)")
    assert tenths == [f"smolvlm: {percent} % of 2.00 GB" for percent in range(0, 101, 10)]


def test_a_bar_on_a_terminal() -> None:
    assert "2.0/2.0 GB" in shown(terminal=True)


@pytest.mark.slow
def test_pull_fetches_a_model(hub: FakeHub) -> None:
    done = CliRunner().invoke(pull, ["owner/tiny"])
    assert done.exit_code == 0, done.output
    assert "owner/tiny: the checkpoint is on this machine." in done.output
    sent = hub.sent
    assert CliRunner().invoke(pull, ["smolvlm@owner/tiny"]).exit_code == 0
    assert hub.sent == sent


@pytest.mark.usefixtures("cache")
def test_pull_of_an_adapter_without_a_model_says_what_to_name() -> None:
    done = CliRunner().invoke(pull, ["mlx_vlm"])
    assert done.exit_code == 2
    assert "vqa-engine pull mlx_vlm@OWNER/MODEL" in done.output
