"""Question sets, and metrics of other packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import a_distribution, a_question, questions
from vqa_engine import load_questions
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.questions.selection import select
from vqa_engine.scoring import Metric, Scoreboard, aggregate, metric

MODULE = """
    import json
    from attrs import frozen
    from tests.builders import questions
    from vqa_engine.questions.given import GivenQuestions
    from vqa_engine.scoring.aggregate import Sums

    def numbered(source):
        return GivenQuestions(questions(int(source.pairs()["count"])))

    def listed(source):
        return GivenQuestions(questions(len(json.loads(source.file.read_text()))))

    @frozen
    class Listed:
        name: str = "listed"
        decimals: int | None = None
        def score(self, prediction, answers):
            return float(prediction in answers)

    class Worst(Sums):
        def add(self, tally, question, grade):
            tally["wrong"] = tally.get("wrong", 0) + (grade.value < 1)
        def figures(self, counts):
            return {"wrong": counts.get("wrong", 0)}

    @frozen
    class Misnamed(Listed):
        name: str = "other"
"""


@pytest.fixture(autouse=True)
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution for each group, and some that are broken."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = {"group_mod": MODULE, "group_bad": "1 / 0"}
    groups = {
        plugins.QUESTION_SETS: {
            "numbered": "group_mod:numbered",
            ".list": "group_mod:listed",
            "none": "group_mod:Listed",
            "bad": "group_bad:x",
        },
        plugins.METRICS: {
            "listed": "group_mod:Listed",
            "misnamed": "group_mod:Misnamed",
            "number": "builtins:int",
            "bad": "group_bad:x",
        },
        plugins.AGGREGATES: {"worst": "group_mod:Worst", "number": "builtins:int"},
    }
    for number, (group, entry_points) in enumerate(groups.items()):
        a_distribution(tmp_path, f"pkg{number}", entry_points, modules=modules, group=group)


@pytest.mark.slow
def test_a_question_set_of_another_package_takes_options() -> None:
    asked = load_questions("numbered:count=3")
    assert list(asked) == questions(3)
    assert asked.digest() == GivenQuestions(questions(3)).digest()
    assert len(select(asked, limit=2)) == 2


@pytest.mark.slow
def test_a_format_of_another_package_reads_files_that_end_so(tmp_path: Path) -> None:
    file = tmp_path / "my.list"
    file.write_text(json.dumps([1, 2, 3, 4]))
    assert len(load_questions(file)) == 4
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_questions(tmp_path / "gone.list")


def test_what_may_be_given_names_the_plugins_as_well() -> None:
    with pytest.raises(ConfigurationError, match=r"installed beside these: \.list, bad, none"):
        load_questions("no-such-set")


@pytest.mark.slow
def test_a_metric_of_another_package_scores() -> None:
    assert metric("listed").grade("red", a_question(1, answers=("red",))).value == 1.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("misnamed", "calls itself 'other'", marks=pytest.mark.slow),
        pytest.param(
            "number", "returns int, which does not implement Metric", marks=pytest.mark.slow
        ),
        pytest.param(
            "bad",
            "of pkg1 1.0 is installed, but its import failed: ZeroDivisionError",
            marks=pytest.mark.slow,
        ),
        ("gone", "choose from: anls, .*, bad, .*, vqa-v2-official"),
        ("vqa_v2_oficial", "did you mean 'vqa-v2-official'"),
    ],
)
def test_a_metric_that_will_not_do_says_why(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        metric(name)


@pytest.mark.slow
def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="gave Listed, which is no QuestionSet"):
        load_questions("none")


def test_two_packages_with_one_name_clash(tmp_path: Path) -> None:
    a_distribution(tmp_path, "twin", {"listed": "group_mod:Listed"}, group=plugins.METRICS)
    with pytest.raises(ConfigurationError, match=r"offered by pkg1 1\.0.* and by twin 1\.0"):
        metric("listed")


def test_the_engine_s_own_come_through_the_same_door() -> None:
    own = [
        plugin.name
        for plugin in plugins.find(plugins.METRICS)
        if plugin.distribution == "vqa-engine"
    ]
    assert all(isinstance(metric(name), Metric) for name in own)
    assert {".json", ".jsonl", "shapes"} <= set(plugins.names(plugins.QUESTION_SETS))


@pytest.mark.slow
def test_a_figure_of_another_package_is_added_to_any_metric() -> None:
    board = Scoreboard(metric("listed+worst"))
    for said in ("red", "blue", "green"):
        board.add(said, a_question(said, answers=("red",)))
    assert board.snapshot().figures["wrong"].value == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "returns int, which does not implement Aggregate"),
        ("macro", "an argument follows a colon, as in macro:subject"),
        ("gone", "There is no aggregate 'gone'; choose from: by, circular"),
    ],
)
def test_an_aggregate_that_will_not_do_says_why(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i){said}"):
        aggregate(name)
