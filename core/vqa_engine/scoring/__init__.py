"""Metric profiles: one module per metric, each profile under its own name.

There is no single "VQA accuracy", so a score is stored with the name of its profile.
Other packages add profiles by an entry point in the group `vqa_engine.metrics`: its name is
the profile's, its object a class or a zero-argument factory of a `Metric`.
"""

from __future__ import annotations

from collections.abc import Mapping

from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.scoring.metric import Metric
from vqa_engine.scoring.results import score_results
from vqa_engine.scoring.scoreboard import Score, Scoreboard, ScoreTable
from vqa_engine.scoring.vqa_v2 import VqaV2Normalised, VqaV2Official

__all__ = ["METRICS", "Metric", "Score", "ScoreTable", "Scoreboard", "metric", "score_results"]

METRICS: Mapping[str, Metric] = {
    profile.name: profile for profile in (VqaV2Official(), VqaV2Normalised())
}
"""The profiles that come with the engine, by name."""


def metric(name: str) -> Metric:
    """The profile of this name, from whatever package offers it.

    Raises:
        ConfigurationError: there is none (the text lists those that there are), two
            packages offer it, its import failed, or what it makes is no `Metric`.
    """
    made: Metric = plugins.make(plugins.METRICS, name, Metric)
    if not plugins.same(made.name, name):
        raise ConfigurationError(
            f"The metric {name!r} calls itself {made.name!r}, and scores are stored under that "
            "name. Its author has to make the two the same."
        )
    return made
