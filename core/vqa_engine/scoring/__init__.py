"""Metric profiles: one module per metric, each profile under its own name.

There is no single "VQA accuracy", so a score is stored with the name of its profile.
"""

from __future__ import annotations

from collections.abc import Mapping

from vqa_engine.errors import ConfigurationError
from vqa_engine.scoring.metric import Metric
from vqa_engine.scoring.results import score_results
from vqa_engine.scoring.scoreboard import Score, Scoreboard, ScoreTable
from vqa_engine.scoring.vqa_v2 import VqaV2Normalised, VqaV2Official

__all__ = ["METRICS", "Metric", "Score", "ScoreTable", "Scoreboard", "metric", "score_results"]

METRICS: Mapping[str, Metric] = {
    profile.name: profile for profile in (VqaV2Official(), VqaV2Normalised())
}
"""Every profile by its name."""


def metric(name: str) -> Metric:
    """The profile of this name.

    Raises:
        ConfigurationError: there is none; the text lists those that there are.
    """
    try:
        return METRICS[name]
    except KeyError:
        known = ", ".join(METRICS)
        raise ConfigurationError(f"There is no metric {name!r}; choose from: {known}.") from None
