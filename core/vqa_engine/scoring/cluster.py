"""Which questions are not independent of each other: those about one image."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from vqa_engine.adapter import Question
from vqa_engine.questions.ordering import image_id

LABEL = "cluster"
"""A question's label of this name is its cluster, for sets whose images are not independent."""


def cluster_of(question: Question) -> Hashable:
    """The cluster: its label, its image's id or path, or a hash of an image in memory.

    A question without an image is in one cluster with its group, or alone.
    """
    if LABEL in question.labels:
        return question.labels[LABEL]
    found = image_id(question)
    if found is not None:
        return found
    image = question.image
    if isinstance(image, Path):
        return str(image)
    alone = question.group is None
    return ("question", question.question_id) if alone else ("group", question.group)
