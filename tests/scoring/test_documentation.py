"""docs/metrics.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests import fakes
from tests.builders import questions
from vqa_engine import Engine
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.scoring.comparable import COMPARABLE, comparable

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def own(group: str) -> set[str]:
    return {one.name for one in plugins.find(group) if one.distribution == "vqa-engine"}


def test_every_metric_has_a_row() -> None:
    table = PAGE.partition("## The metrics")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) | {"by-question"} == own(
        plugins.METRICS
    )


def test_every_row_says_what_the_scores_say() -> None:
    table = PAGE.partition("## The metrics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| (.*) \|$", table, re.MULTILINE)
    assert dict(rows) == COMPARABLE


def test_scores_say_what_they_compare_with() -> None:
    (official,) = comparable(["after:Answer:>vqa-v2-official+macro:subject"])
    assert official.endswith("were normalised first: vqa-v2-normalised.")
    assert list(comparable(["of-somebody", "exact", "exact"])) == [
        "exact is comparable with no published figure: it is for your own sets."
    ]


def test_a_models_published_figures_are_for_that_model() -> None:
    for label in ("llava_mlx", "mlx_vlm@mlx-community/LLaVA-1.5"):
        (sentence,) = comparable(["vqa-v2-normalised"], [label, "demo"])
        assert "LLaVA 1.5 7B has 78.5" in sentence
    (sentence,) = comparable(["vqa-v2-normalised"], ["demo"])
    assert "LLaVA" not in sentence


def test_every_aggregate_has_a_row() -> None:
    table = PAGE.partition("## Figures beyond the mean")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([\w-]+)(?::LABEL)?`", table)) >= own(plugins.AGGREGATES)


def test_the_examples_work() -> None:
    function, package = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(function.partition("with Engine")[0], names)
    exec(package, names)
    metrics = ["exact", names["brief"], names["FirstWord"]()]
    with Engine(adapters=[fakes.Oracle], metrics=metrics, isolation="inline") as engine:
        tables = engine.run(questions(2)).scores["oracle"]
    assert [(table.metric, table.overall.percent) for table in tables] == [
        ("exact", 100),
        ("brief", 100),
        ("first-word", 100),
    ]
