"""Comparing runs by their directories, and scoring them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attrs import evolve

from tests import fakes
from tests.builders import questions
from vqa_engine import AdapterSpec, Engine, ModelRef, Question
from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import ConfigurationError, NotComparable
from vqa_engine.runs.comparing import Side, compare_runs
from vqa_engine.runs.directory import read_manifest
from vqa_engine.runs.manifest import FILE
from vqa_engine.runs.rescoring import score_run


def run(output: Path, asked: list[Question], *adapters: type) -> Path:
    with Engine(adapters=list(adapters), isolation="inline") as engine:
        engine.run(asked, output)
    return output


@pytest.mark.slow
def test_two_runs_over_the_same_questions(tmp_path: Path) -> None:
    first = run(tmp_path / "a", questions(4), fakes.Oracle)
    second = run(tmp_path / "b", questions(4), fakes.Instant)
    found = compare_runs(Side(first), Side(second), "exact")
    assert (found.first, found.second, found.count) == ("oracle", "instant", 4)


@pytest.mark.slow
def test_one_adapter_in_two_runs_is_told_apart_by_the_run(tmp_path: Path) -> None:
    first, second = (Side(run(tmp_path / name, questions(2), fakes.Oracle)) for name in "ab")
    found = compare_runs(first, second)
    assert (found.first, found.second, found.metric) == (
        "a: oracle",
        "b: oracle",
        "vqa-v2-normalised",
    )


@pytest.mark.slow
def test_two_adapters_of_one_run(tmp_path: Path) -> None:
    both = run(tmp_path / "a", questions(3), fakes.Oracle, fakes.Instant)
    found = compare_runs(Side(both, "oracle"), Side(both, "instant"))
    assert found.difference.value == 0
    with pytest.raises(ConfigurationError, match=r"has 2 adapters: instant, oracle. Choose one"):
        compare_runs(Side(both), Side(both))


@pytest.mark.slow
def test_another_prompt_is_refused_and_compared_anyway(tmp_path: Path) -> None:
    first, second = Side(tmp_path / "a"), Side(tmp_path / "b")
    run(first.run, questions(3), fakes.Oracle)
    briefly = GenerationPlan(prompt="{question} Briefly.")
    with Engine(adapters=[fakes.Oracle], plan=briefly, isolation="inline") as engine:
        engine.run(questions(3), second.run)
    with pytest.raises(NotComparable, match=r"prompt: none and '\{question\} Briefly\.'"):
        compare_runs(first, second)
    assert compare_runs(first, second, anyway=True).count == 3


@pytest.mark.slow
def test_other_questions_are_refused_and_compared_anyway(tmp_path: Path) -> None:
    first = run(tmp_path / "a", questions(3), fakes.Oracle)
    second = run(tmp_path / "b", questions(5), fakes.Oracle)
    with pytest.raises(NotComparable, match=r"card: they differ\).* with --anyway"):
        compare_runs(Side(first), Side(second))
    found = compare_runs(Side(first), Side(second), anyway=True)
    assert (found.count, found.unpaired) == (3, 2)


def test_the_same_questions_about_other_data_are_refused(tmp_path: Path) -> None:
    first = run(tmp_path / "a", questions(3), fakes.Oracle)
    sides = [Side(first), *(Side(shutil.copytree(first, tmp_path / name)) for name in "bc")]
    for side, commit in zip(sides, ("1", "2", None), strict=True):
        noted = evolve(read_manifest(side.run), question_data=commit and f"owner/pets@{commit}")
        (side.run / FILE).write_bytes(noted.encode())
    with pytest.raises(NotComparable, match="the data: 'owner/pets@1' and 'owner/pets@2'"):
        compare_runs(sides[0], sides[1])
    assert compare_runs(sides[0], sides[2]).count == 3  # a run that noted none yet


@pytest.mark.slow
def test_other_prompts_are_refused(tmp_path: Path) -> None:
    sides = []
    for instruction in ("Answer briefly.", "Think first."):
        model = ModelRef(options={"instruction": instruction})
        spec = AdapterSpec(name="oracle", target="tests.fakes:Oracle", model=model)
        output = tmp_path / instruction
        with Engine(adapters=[spec], isolation="inline") as engine:
            engine.run(questions(2), output)
        sides.append(Side(output))
    with pytest.raises(NotComparable, match=r"option instruction: 'Answer briefly\.' and 'Think"):
        compare_runs(sides[0], sides[1])
    assert compare_runs(sides[0], sides[1], anyway=True).count == 2


def test_a_run_is_scored_again_by_any_metric(tmp_path: Path) -> None:
    directory = run(tmp_path / "a", questions(3), fakes.Oracle)
    by_default = score_run(directory)
    assert by_default.scores["oracle"][0].metric == "vqa-v2-normalised"
    assert "ten answers" in by_default.why
    again = score_run(directory, ["exact", "yes-no-words"])
    assert [table.overall.percent for table in again.scores["oracle"]] == [100, 100]
    assert again.why == ""


@pytest.mark.slow
def test_the_adapters_of_a_run_are_compared_when_it_is_scored_again(tmp_path: Path) -> None:
    both = run(tmp_path / "a", questions(3), fakes.Oracle, fakes.Instant)
    (found,) = score_run(both, ["exact"]).comparisons
    assert (found.first, found.second, found.metric) == ("instant", "oracle", "exact")
