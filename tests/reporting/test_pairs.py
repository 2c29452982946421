"""Contenders compared on the page: the figures are those of `vqa_engine.scoring.comparison`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.builders import METRICS, a_run, many
from vqa_engine.reporting import opened
from vqa_engine.reporting.collecting import collect
from vqa_engine.reporting.corpus import RIGHT
from vqa_engine.reporting.pairs import pairs
from vqa_engine.runs.comparing import Side, compare_runs
from vqa_engine.scoring import metrics


def test_a_pair_has_the_difference_that_compare_gives(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", many(400, ["a", "b"]), labels=["a", "b"])
    with opened([run]) as runs:
        corpus = collect(runs, metrics(METRICS), lambda _: None)
    (pair,) = pairs(corpus, [0, 1])
    expected = compare_runs(Side(run, "b"), Side(run, "a"), METRICS[0])
    difference = pair.differences.figure()
    for name in ("value", "low", "high"):
        assert getattr(difference, name) == pytest.approx(getattr(expected.difference, name))
    assert pair.count == expected.count
    assert (pair.differences.better, pair.differences.worse) == (expected.better, expected.worse)
    assert pair.differences.p_value == expected.p_value


def test_every_question_that_both_have_a_score_for_is_in_one_of_four(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", many(400, ["a", "b"]), labels=["a", "b"])
    with opened([run]) as runs:
        corpus = collect(runs, metrics(METRICS), lambda _: None)
    (pair,) = pairs(corpus, [0, 1])
    first, second = (one.scores() for one in corpus.contenders)
    both = [(a, b) for a, b in zip(first, second, strict=True) if None not in (a, b)]
    assert pair.count == len(both) == pair.both + pair.only_first + pair.only_second + pair.neither
    assert pair.only_first == sum(a >= RIGHT > b for a, b in both)
