from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.builders import a_distribution
from tests.questions.tables.builders import picture
from vqa_engine.adapter import Question
from vqa_engine.doctor.probe.looking import look
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.question_set import why_scored, worded
from vqa_engine.questions.tasks import TaskSet, find, load_task
from vqa_engine.scoring import metrics

CARD = """
task = "pets"
title = "Pets"
version = 2
[data]
files = ["pets.csv"]
[columns]
id = { column = "id", as = "int" }
image = "image"
question = "question"
answers = "answer"
labels = { hint = "hint" }
[prompt]
text = "Hint: {hint}\\n{question}\\nAnswer briefly."
max_tokens = 5
[prompt.family.smolvlm]
text = "{question} In a word."
[score]
metrics = ["exact"]
by = ["hint"]
"""


def card(folder: Path, text: str = CARD) -> str:
    (folder / "cat.png").write_bytes(picture())
    rows = "id,image,question,answer,hint\n1,cat.png,Which pet?,cat,fur\n2,cat.png,Whose?,mine,\n"
    (folder / "pets.csv").write_text(rows)
    path = folder / "pets.toml"
    path.write_text(text)
    return str(path)


def loaded(folder: Path, text: str = CARD, prompt: str | None = None) -> TaskSet:
    return load_task(find.task(card(folder, text)), prompt=prompt)


def texts(found: TaskSet, adapter: str) -> list[str]:
    return [one.text for one in worded(found, adapter)]


def test_a_card_is_a_question_set_with_its_own_metrics(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert (found.name, len(found), found.metrics) == ("pets v2", 2, ("exact+by:hint",))
    assert [one.question_id for one in found] == [1, 2]


def test_the_table_says_which_figure_is_quoted(tmp_path: Path) -> None:
    assert why_scored(loaded(tmp_path)) == "the metric of pets v2"
    quoted = loaded(tmp_path, CARD.replace('["exact"]', '["exact"]\nheadline = "hint fur"'))
    assert why_scored(quoted) == "the metric of pets v2, which is quoted by its figure 'hint fur'"


def test_each_family_gets_its_own_words(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert texts(found, "smolvlm_torch")[0] == "Which pet? In a word."
    assert texts(found, "llava_mlx")[0] == "Hint: fur\nWhich pet?\nAnswer briefly."
    assert all(one.worded for one in worded(found, "llava_mlx"))


def test_a_line_of_which_every_value_is_missing_is_left_out(tmp_path: Path) -> None:
    assert texts(loaded(tmp_path), "llava_mlx")[1] == "Whose?\nAnswer briefly."


def test_a_prompt_can_be_chosen_typed_or_left_to_the_adapter(tmp_path: Path) -> None:
    assert texts(loaded(tmp_path, prompt="smolvlm"), "x")[0] == "Which pet? In a word."
    assert texts(loaded(tmp_path, prompt="{question}\\nNow."), "x")[0] == "Which pet?\nNow."
    left = loaded(tmp_path, prompt="none")
    assert texts(left, "x")[0] == "Which pet?"
    assert not any(one.worded for one in worded(left, "x"))
    with pytest.raises(ConfigurationError, match="no prompt 'qwen'; choose from: default, none"):
        loaded(tmp_path, prompt="qwen")


def test_other_prompts_are_another_run(tmp_path: Path) -> None:
    digests = {loaded(tmp_path, prompt=one).digest() for one in (None, "smolvlm", "none")}
    changed = loaded(tmp_path, CARD.replace("briefly", "at length")).digest()
    assert len({*digests, changed}) == 4


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("[data]", "[data", "not valid TOML"),
        ("version = 2", 'version = "2"', r"Expected `int`, got `str` - at `\$.version`"),
        ("[data]", "colour = 1\n[data]", "unknown field `colour`"),
        ("{question} In", "{quest} In", r"\[prompt.family.smolvlm\] text uses {quest}"),
        ("{question} In", "{question} { In", r"toml: \[prompt.family.smolvlm\] text: "),
        ("{question} In", "{question.x} In", "not a plain name"),
        ('["exact"]', "[]", "names no metric"),
        ('["hint"]', '["Hint"]', "by has 'Hint', which is no label; .*answer_type, hint, "),
        ('image = "image"', "", "needs `image` or `images`"),
    ],
)
def test_a_wrong_card_says_where(tmp_path: Path, before: str, after: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        loaded(tmp_path, CARD.replace(before, after))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("questions = 3", "it has 2 questions, and the card of pets says 3"),
        ('digest = "sha256:00"', "its questions are not those of the card of pets"),
    ],
)
def test_other_data_stops_the_run(tmp_path: Path, data: str, reason: str) -> None:
    with pytest.raises(QuestionSetError, match=reason):
        loaded(tmp_path, CARD.replace("[columns]", f"{data}\n[columns]"))


def test_the_right_digest_passes(tmp_path: Path) -> None:
    digest = loaded(tmp_path).data_digest()
    text = CARD.replace("[columns]", f'digest = "sha256:{digest}"\n[columns]')
    assert len(loaded(tmp_path, text)) == 2


@pytest.mark.parametrize(
    ("choices", "first"),
    [("given", "choice"), ("shuffled:1", "choice"), ("circular", "choice+circular")],
)
def test_a_task_that_is_asked_in_several_orders_says_how_often_all_are_right(
    choices: str, first: str
) -> None:
    asked = GivenQuestions(
        [Question(question_id=1, image=b"", text="?", choices=("a", "b"), right=0)]
    )
    assert load_task(find.task("ai2d"), questions=asked, choices=choices).metrics[0] == first


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'textvqa'"):
        find.task("text-vqa")


@pytest.mark.parametrize("name", find.names())
def test_every_card_that_ships_is_valid(name: str) -> None:
    task = find.task(name)
    assert task.name == name
    assert metrics(TaskSet(of=None, task=task).metrics)  # type: ignore[arg-type]
    assert task.card.prompt.text
    assert task.card.prompt.source
    assert re.fullmatch("[0-9a-f]{40}", task.card.data.revision or "")


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """A package of one card, without code."""
    cards = folder / f"cards_{name}"
    cards.mkdir()
    (cards / "__init__.py").touch()
    (cards / f"{name}.toml").write_text(text)
    a_distribution(folder, f"pkg-{name}", {name: cards.name}, group=plugins.TASKS)
    monkeypatch.syspath_prepend(str(folder))


def test_a_package_brings_cards_without_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, "pets", CARD)
    assert "pets" in find.names()
    assert find.task("pets").card.title == "Pets"
    assert find.task("pets").folder == tmp_path / "cards_pets"


def test_a_broken_card_of_a_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, "odd_pets", "task = 5")
    with pytest.raises(ConfigurationError, match="The task card odd_pets is not valid"):
        find.task("odd_pets")
    (plugin,) = (one for one in plugins.find(plugins.TASKS) if one.name == "odd_pets")
    assert look(plugin, bind=False).state == "invalid"
