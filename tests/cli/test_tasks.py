from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import a_distribution
from tests.questions.tables.builders import picture
from vqa_engine_cli.main import cli

CARD = """
task = "pets"
title = "Pets"
version = 1
licence = "ours"
[data]
files = ["pets.csv"]
[columns]
image = "image"
question = "question"
answers = "answer"
[prompt]
text = "{question} Briefly."
source = "us"
[score]
metrics = ["exact"]
"""


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return result.output


def card(folder: Path) -> str:
    (folder / "a.png").write_bytes(picture())
    (folder / "pets.csv").write_text("image,question,answer\na.png,Which?,cat\n")
    (folder / "pets.toml").write_text(CARD)
    return str(folder / "pets.toml")


@pytest.mark.slow
def test_the_list_names_every_task_and_what_is_left_out() -> None:
    listed = said("tasks")
    assert "textvqa" in listed
    assert "214,354" in listed
    assert "Left out: benchmarks that need a judge model" in listed
    assert {one["task"] for one in json.loads(said("tasks", "--json"))} >= {"vqav2", "mmmu"}


def test_a_task_is_shown_with_a_question_as_the_model_gets_it(tmp_path: Path) -> None:
    shown = said("tasks", "show", card(tmp_path))
    assert "pets, version 1: Pets" in shown
    assert "digest    sha256:" in shown
    assert "  | Which? Briefly." in shown
    assert "ground truth  cat" in shown


def test_a_task_whose_data_is_not_here_says_how_to_get_it() -> None:
    assert "--download gets it" in said("tasks", "show", "mmstar")


@pytest.mark.slow
def test_a_task_runs_with_and_without_its_pictures(tmp_path: Path) -> None:
    output = tmp_path / "run"
    told = said("--task", card(tmp_path), "--blind", "--isolation", "inline", "-o", str(output))
    assert "question set: pets v1" in told
    assert "demo: prompt 'default', worded by us" in told
    assert "Gain of the pictures over grey ones of the same size, demo" in told
    assert (tmp_path / "run-blind" / "manifest.json").exists()


@pytest.mark.slow
def test_a_typed_prompt_is_not_called_the_adapters(tmp_path: Path) -> None:
    typed = ("--prompt", "{question} Say a word.", "--isolation", "inline")
    told = said("--task", card(tmp_path), *typed, "-o", str(tmp_path / "run"))
    assert "worded by the adapter" not in told


@pytest.mark.slow
def test_own_questions_in_a_tasks_words(tmp_path: Path) -> None:
    path = card(tmp_path)
    (tmp_path / "own.csv").write_text("scan,question,answer\na.png,Whose?,mine\n")
    options = ("--questions", str(tmp_path / "own.csv"), "--columns", "image=scan")
    output = str(tmp_path / "run")
    said("--task", path, *options, "--isolation", "inline", "-o", output)
    said("export", output, "-o", str(tmp_path / "rows.jsonl"))
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert (row["question"], row["ground_truths"]) == ("Whose? Briefly.", ["mine"])


def test_a_cards_own_data_is_described_by_the_card(tmp_path: Path) -> None:
    told = said("--task", card(tmp_path), "--images", str(tmp_path), code=2)
    assert "the card of pets describes its own data" in told


ONE_PICTURE = """
from pathlib import Path
from tests.fakes import Instant
class One(Instant):
    def load(self, model):
        Path("loaded").touch()
"""


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["moondream2", "one"])
def test_a_task_with_more_pictures_than_an_adapter_handles_is_refused_before_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    site = tmp_path / "site"
    a_distribution(site, "ones", {"one": "ones:One"}, modules={"ones": ONE_PICTURE})
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    path = Path(card(tmp_path))
    path.write_text(CARD.replace('image = "image"', 'images = ["image", "image"]'))
    told = said("--task", str(path), "-a", adapter, "-o", "run", code=1)
    assert f"questions with 2 images, and the adapter '{adapter}' handles 1 per question" in told
    assert not (tmp_path / "loaded").exists()


def test_a_card_is_pinned_and_other_data_refused(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    assert "Run it with --task" in said("tasks", "pin", card(tmp_path), "-o", str(own))
    assert 'digest = "sha256:' in own.read_text()
    assert "questions = 1" in own.read_text()
    assert "pets, version 1" in said("tasks", "show", str(own))
    (tmp_path / "pets.csv").write_text("image,question,answer\na.png,Which one?,cat\n")
    assert "not those of the card" in said("tasks", "show", str(own), code=1)
    assert "is beside its card" in said("tasks", "pin", card(tmp_path), "-o", "/x.toml", code=1)
