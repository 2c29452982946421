"""Scores: one module for each family of metrics, every metric named and versioned.

There is no single "VQA accuracy", so a score is stored with the name of its metric. Other
packages add metrics by an entry point in the group `vqa_engine.metrics`, whose name is the
metric's and whose object is a class or a zero-argument factory of a `Metric`, and figures
beyond the mean in the group `vqa_engine.aggregates` (`vqa_engine.scoring.aggregate`).
"""

from __future__ import annotations

from vqa_engine.scoring.aggregate import Aggregate
from vqa_engine.scoring.defaults import Default, default_metric
from vqa_engine.scoring.figures import Figure
from vqa_engine.scoring.making import MetricLike, aggregate
from vqa_engine.scoring.metric import Grade, Metric, Status, StringMetric
from vqa_engine.scoring.registry import metric, metrics
from vqa_engine.scoring.results import score_results
from vqa_engine.scoring.scoreboard import Score, Scoreboard, ScoreTable

__all__ = [
    "Aggregate",
    "Default",
    "Figure",
    "Grade",
    "Metric",
    "MetricLike",
    "Score",
    "ScoreTable",
    "Scoreboard",
    "Status",
    "StringMetric",
    "aggregate",
    "default_metric",
    "metric",
    "metrics",
    "score_results",
]
