"""Question sets, and metrics of other packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import a_distribution
from vqa_engine import load_questions
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.scoring import METRICS, metric

MODULE = """
    import json
    from attrs import frozen
    from tests.builders import questions
    from vqa_engine.questions.given import GivenQuestions

    def numbered(source):
        return GivenQuestions(questions(int(source.pairs()["count"])))

    def listed(source):
        return GivenQuestions(questions(len(json.loads(source.file.read_text()))))

    @frozen
    class Exact:
        name: str = "exact"
        decimals: int | None = None
        def score(self, prediction, answers):
            return float(prediction in answers)

    @frozen
    class Misnamed(Exact):
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
            "none": "group_mod:Exact",
            "bad": "group_bad:x",
        },
        plugins.METRICS: {
            "exact": "group_mod:Exact",
            "misnamed": "group_mod:Misnamed",
            "number": "builtins:int",
            "bad": "group_bad:x",
        },
    }
    for number, (group, entry_points) in enumerate(groups.items()):
        a_distribution(tmp_path, f"pkg{number}", entry_points, modules=modules, group=group)


def test_a_question_set_of_another_package_takes_options() -> None:
    assert isinstance(load_questions("numbered:count=3"), GivenQuestions)
    assert len(load_questions("numbered:count=3", limit=2)) == 2


def test_a_format_of_another_package_reads_files_that_end_so(tmp_path: Path) -> None:
    file = tmp_path / "my.list"
    file.write_text(json.dumps([1, 2, 3, 4]))
    assert len(load_questions(file)) == 4
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_questions(tmp_path / "gone.list")


def test_what_may_be_given_names_the_plugins_as_well() -> None:
    with pytest.raises(ConfigurationError, match=r"installed beside these: \.list, bad, none"):
        load_questions("no-such-set")


def test_a_metric_of_another_package_scores() -> None:
    assert metric("exact").score("red", ["red"]) == 1.0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("misnamed", "calls itself 'other'"),
        ("number", "returns int, which does not implement Metric"),
        ("bad", "of pkg1 1.0 is installed, but its import failed: ZeroDivisionError"),
        ("gone", "choose from: bad, exact, .*, vqa-v2-normalised, vqa-v2-official"),
        ("vqa_v2_oficial", "did you mean 'vqa-v2-official'"),
    ],
)
def test_a_metric_that_will_not_do_says_why(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        metric(name)


def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="gave Exact, which is no QuestionSet"):
        load_questions("none")


def test_two_packages_with_one_name_clash(tmp_path: Path) -> None:
    a_distribution(tmp_path, "twin", {"exact": "group_mod:Exact"}, group=plugins.METRICS)
    with pytest.raises(ConfigurationError, match=r"offered by pkg1 1\.0.* and by twin 1\.0"):
        metric("exact")


def test_the_engine_s_own_come_through_the_same_door() -> None:
    assert {metric(name) for name in METRICS} == set(METRICS.values())
    assert {".json", ".jsonl", "shapes"} <= set(plugins.names(plugins.QUESTION_SETS))
