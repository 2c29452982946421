"""A run goes on with another adapter, more questions, or new versions that were accepted."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tests.builders import questions
from tests.fakes import First, Instant, Second, Unreachable
from vqa_engine import Engine
from vqa_engine.errors import CheckpointError, RunMismatch, ScoringError
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.question_set import QuestionSet
from vqa_engine.questions.selection import extends, select
from vqa_engine.questions.tasks import find, load_task, presented
from vqa_engine.runs import manifest
from vqa_engine.runs.directory import matching, read_manifest
from vqa_engine.runs.rescoring import score_runs
from vqa_engine_cli.run import run_name

CARD = """
task = "pets"
title = "Pets"
version = 1
[data]
files = ["pets.csv"]
[columns]
image = "image"
question = "question"
choices = "choices"
[prompt]
text = "{question}{options}"
[score]
metrics = ["choice"]
"""


def run(folder: Path, *adapters: Instant, count: int = 3, limit: int | None = None) -> int:
    """Run, and say how many questions were asked."""
    asked: list[object] = []

    class Counted(Engine):
        def _record(self, *arguments: object) -> object:  # type: ignore[override]
            asked.append(arguments)
            return super()._record(*arguments)  # type: ignore[arg-type]

    with Counted(adapters, isolation="inline") as engine:
        engine.run(select(GivenQuestions(questions(count)), limit=limit), folder)
    return len(asked)


@pytest.mark.slow
def test_another_adapter_continues_a_run(tmp_path: Path) -> None:
    assert run(tmp_path / "r", First()) == 3
    assert run(tmp_path / "r", Second()) == 3
    assert run(tmp_path / "r", First(), Second()) == 0
    assert set(read_manifest(tmp_path / "r").adapters) == {"first", "second"}


@pytest.mark.slow
def test_more_questions_at_the_end_continue_a_run(tmp_path: Path) -> None:
    assert run(tmp_path / "r", Instant(), count=3) == 3
    assert run(tmp_path / "r", Instant(), count=5) == 2
    assert read_manifest(tmp_path / "r").question_count == 5


@pytest.mark.slow
def test_a_higher_limit_continues_a_run(tmp_path: Path) -> None:
    limits = (2, 4, None)
    asked = [run(tmp_path / "r", Instant(), count=6, limit=limit) for limit in limits]
    assert asked == [2, 2, 2]


def test_other_questions_are_another_run(tmp_path: Path) -> None:
    run(tmp_path / "r", Instant())
    with (
        Engine(Instant(), isolation="inline") as engine,
        pytest.raises(RunMismatch, match="the questions differ"),
    ):
        engine.run(questions(9, text="Is it blue?"), tmp_path / "r")


def test_a_sample_is_extended_by_no_other_sample() -> None:
    few, more = (select(GivenQuestions(questions(40)), sample=n) for n in (5, 9))
    assert not extends(more, len(few), few.digest())


CHOICES = ("ant", "bee", "yes")


def put(folder: Path, form: str, count: int, limit: int | None) -> QuestionSet:
    """The first `count` questions of a set in this form, or `limit` of them."""
    given = GivenQuestions(questions(count, choices=CHOICES, right=2))
    orders, _, prompt = form.partition(" ")
    if not orders.startswith("task"):
        return presented(given, orders, prompt or None, limit=limit)
    (folder / "card.toml").write_text(CARD)
    task = find.task(str(folder / "card.toml"))
    return load_task(task, questions=given, choices=orders.removeprefix("task-"), limit=limit)


@pytest.mark.parametrize(
    "form", ["circular", "shuffled:3", "given {question}{options}", "task-given", "task-circular"]
)
@pytest.mark.parametrize(
    ("before", "now"), [((9, 4), (9, None)), ((9, 4), (9, 7)), ((4, None), (9, None))]
)
def test_a_set_in_another_form_grows_as_well(
    tmp_path: Path, form: str, before: tuple[int, int | None], now: tuple[int, int | None]
) -> None:
    few, more = put(tmp_path, form, *before), put(tmp_path, form, *now)
    assert extends(more, len(few), few.digest())
    assert not extends(more, len(few) - 1, few.digest())
    assert not extends(more, len(few), put(tmp_path, "shuffled:4", *before).digest())


def changed(folder: Path, name: str, value: str) -> None:
    file = folder / manifest.FILE
    content = json.loads(file.read_text())
    content[name] = value
    file.write_text(json.dumps(content))


def test_a_new_version_is_accepted_on_request_and_recorded(tmp_path: Path) -> None:
    run(tmp_path / "r", Instant())
    changed(tmp_path / "r", "vqa_engine", "0.0.1")
    with Engine(Instant(), isolation="inline") as engine:
        with pytest.raises(RunMismatch, match="--accept-changes"):
            engine.run(questions(3), tmp_path / "r")
        engine.run(questions(3), tmp_path / "r", accept_changes=True)
        engine.run(questions(3), tmp_path / "r")
    (change,) = read_manifest(tmp_path / "r").changes
    assert change.versions["vqa_engine"][0] == "0.0.1"


def test_another_plan_is_not_accepted(tmp_path: Path) -> None:
    run(tmp_path / "r", Instant())
    changed(tmp_path / "r", "plan", {"max_tokens": 5})  # type: ignore[arg-type]
    with (
        Engine(Instant(), isolation="inline") as engine,
        pytest.raises(RunMismatch, match="Use the same settings"),
    ):
        engine.run(questions(3), tmp_path / "r", accept_changes=True)


def test_the_same_settings_find_their_run(tmp_path: Path) -> None:
    run(tmp_path / "2026-01-01-instant-given", Instant())
    with Engine(Instant(), isolation="inline") as engine:
        wanted = engine.manifest(GivenQuestions(questions(3)))
        other = engine.manifest(GivenQuestions(questions(4)))
    assert matching(tmp_path, wanted) == tmp_path / "2026-01-01-instant-given"
    assert matching(tmp_path, other) is None


@pytest.mark.parametrize(
    ("labels", "questions_name", "name"),
    [
        (["smolvlm@builtin"], "shapes", "2026-01-02-smolvlm-shapes"),
        (["mlx_vlm@a/B-4bit", "llava_mlx"], "q/vqa.jsonl", "2026-01-02-B-4bit+llava_mlx-vqa"),
        (["a", "b", "c", "d"], "x y", "2026-01-02-a+b+2-more-x_y"),
    ],
)
def test_the_name_of_a_run_is_short_and_dated(
    labels: list[str], questions_name: str, name: str
) -> None:
    assert run_name(labels, questions_name, date(2026, 1, 2)) == name


@pytest.mark.slow
def test_runs_over_the_same_questions_are_scored_together(tmp_path: Path) -> None:
    run(tmp_path / "a", First())
    run(tmp_path / "b", First(), Second())
    merged = score_runs([tmp_path / "a", tmp_path / "b"])
    assert list(merged.scores) == ["a/first", "b/first", "second"]


@pytest.mark.slow
def test_runs_over_other_questions_are_not_scored_together(tmp_path: Path) -> None:
    run(tmp_path / "a", First())
    run(tmp_path / "b", First(), count=4)
    with pytest.raises(ScoringError, match="over other questions"):
        score_runs([tmp_path / "a", tmp_path / "b"])


def test_a_run_without_a_row_is_begun_anew_with_other_settings(tmp_path: Path) -> None:
    with Engine(Unreachable(), isolation="inline") as engine, pytest.raises(CheckpointError):
        engine.run(questions(3), tmp_path / "r")
    assert run(tmp_path / "r", Instant(), count=2) == 2
    assert set(read_manifest(tmp_path / "r").adapters) == {"instant"}


@pytest.mark.slow
def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [tmp_path / parent / "run" for parent in ("monday", "tuesday")]
    for folder in folders:
        folder.parent.mkdir()
        run(folder, First())
    merged = score_runs([*folders, folders[0]])
    assert list(merged.scores) == [f"{folder}/first" for folder in folders]
